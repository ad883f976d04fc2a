"""Where commands on orders are taken: those that arrive together share a transaction."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar, cast
from uuid import UUID

import structlog

from common import idempotency, rehearsal
from common.database import Database, Transaction
from common.errors import DomainError, OutcomeUnknown
from common.group_commit import GroupCommit
from common.idempotency import AnsweredBefore, IdempotencyKeyReused
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1.events_pb2 import OrderConfirmed
from sales.batches import BatchCreateOrders, BatchOutcome, at_order
from sales.cancelling import CancelOrder, cancel_orders
from sales.confirming import ConfirmOrder, confirm_orders
from sales.drafting import CreateOrder, create_orders, prepare
from sales.goods import Hold, OtherServices
from sales.orders import Order
from sales.shipping import ShipOrder, ship_orders

log = structlog.get_logger()
Outcome = TypeVar("Outcome")


class _GoodsNotHeld(Exception):
    """An all-or-none batch needs goods to be held before it can be stored."""

    def __init__(self, holds: dict[int, Hold]) -> None:
        super().__init__()
        self.holds = holds


class OrderDesk:
    """Runs commands on orders.

    An order that refuses to wait for goods is looked at twice: first to see whether it could be
    confirmed at all, then, once its goods are held, to confirm it. Nothing is held for an order
    that is wrong, and no transaction is open while inventory is asked.
    """

    def __init__(self, database: Database, services: OtherServices) -> None:
        self._database = database
        self._services = services
        self._creating = GroupCommit[CreateOrder, Order | Hold](
            database, create_orders, prepare=self._prepare
        )
        self._confirming = GroupCommit[ConfirmOrder, Order | Hold](database, confirm_orders)
        self._shipping = GroupCommit[ShipOrder, Order](database, ship_orders)
        self._cancelling = GroupCommit[CancelOrder, Order](database, cancel_orders)

    async def create(self, command: CreateOrder) -> Order:
        """Make an order, and confirm it when asked.

        Raises:
            DomainError: the order is wrong, or refuses to wait for goods that are missing.
        """
        return await self._planned(await self._create(command))

    async def _create(self, command: CreateOrder) -> Order:
        outcome = await self._creating.run(command)
        if isinstance(outcome, Order):
            return outcome
        reservation_id = await self._services.hold_goods(outcome)
        try:
            return _made(await self._creating.run(replace(command, held=True)))
        except OutcomeUnknown:
            raise
        except (DomainError, AnsweredBefore):
            # The order does not exist, so nothing else can need what is held for it.
            await self._release([reservation_id])
            raise

    async def confirm(self, command: ConfirmOrder) -> Order:
        """Confirm an order.

        Raises:
            DomainError: it cannot be confirmed, or refuses to wait for goods that are missing.
        """
        return await self._planned(await self._confirm(command))

    async def _confirm(self, command: ConfirmOrder) -> Order:
        outcome = await self._confirming.run(command)
        if isinstance(outcome, Order):
            return outcome
        await self._services.hold_goods(outcome)
        # If this fails, the hold is left to end by itself: somebody else's confirmation that came
        # first may rest on it.
        return _made(await self._confirming.run(replace(command, held=True)))

    async def ship(self, command: ShipOrder) -> Order:
        """Ship goods of an order.

        Raises:
            DomainError: they cannot leave.
        """
        return await self._shipping.run(command)

    async def cancel(self, command: CancelOrder) -> Order:
        """Call an order off.

        Raises:
            DomainError: it is too late for that.
        """
        return await self._cancelling.run(command)

    async def create_batch(self, batch: BatchCreateOrders) -> BatchOutcome:
        """Make many orders: each by itself, or all or none.

        Raises:
            DomainError: of an all-or-none batch, the error of its first wrong order.
        """
        if batch.atomic:
            return await self._create_together(_all_right(batch.rows))
        rows = enumerate(batch.rows)
        return BatchOutcome(await asyncio.gather(*(self._create_row(*row) for row in rows)))

    async def _planned(self, order: Order) -> Order:
        """The order; if its confirmation was only rehearsed, with what others would do about it."""
        if (rehearsed := rehearsal.current()) is not None:
            for event in rehearsed.told(OrderConfirmed):
                if event.order_id == str(order.id):
                    order.plan = await self._services.plan_order(event)
        return order

    async def _prepare(self, commands: Sequence[CreateOrder]) -> list[CreateOrder | DomainError]:
        return await prepare(self._services, commands)

    async def _create_row(
        self, place: int, row: CreateOrder | DomainError
    ) -> Order | pb.Order | DomainError:
        if isinstance(row, DomainError):
            return row
        try:
            with idempotency.carrying_out_part(place, pb.Order):
                return await self._create(row)
        except AnsweredBefore as before:
            return cast("pb.Order", before.answer)
        except IdempotencyKeyReused:
            raise
        except DomainError as error:
            return error

    async def _create_together(self, commands: list[CreateOrder]) -> BatchOutcome:
        prepared = _all_right(await self._prepare(commands))
        try:
            return await self._database.run(lambda tx: _create_all_or_none(tx, prepared))
        except _GoodsNotHeld as first:
            held = await self._hold_all(first.holds)
        prepared = [replace(command, held=True) for command in prepared]
        try:
            return await self._database.run(lambda tx: _create_all_or_none(tx, prepared))
        except OutcomeUnknown:
            raise
        except (DomainError, AnsweredBefore):
            await self._release(held)
            raise

    async def _hold_all(self, holds: dict[int, Hold]) -> list[UUID]:
        answers = await asyncio.gather(
            *map(self._services.hold_goods, holds.values()), return_exceptions=True
        )
        errors = {
            place: answer
            for place, answer in zip(holds, answers, strict=True)
            if isinstance(answer, BaseException)
        }
        held = [answer for answer in answers if isinstance(answer, UUID)]
        for place, error in errors.items():
            await self._release(held)
            raise at_order(place, error) if isinstance(error, DomainError) else error
        return held

    async def _release(self, reservation_ids: Sequence[UUID]) -> None:
        for reservation_id in reservation_ids:
            try:
                await self._services.release_goods(reservation_id)
            except DomainError as error:
                # It ends by itself.
                log.info("hold not released", reservation_id=str(reservation_id), error=str(error))


async def _create_all_or_none(tx: Transaction, commands: Sequence[CreateOrder]) -> BatchOutcome:
    outcomes = _all_right(await create_orders(tx, commands))
    holds = {place: item for place, item in enumerate(outcomes) if isinstance(item, Hold)}
    if holds:
        raise _GoodsNotHeld(holds)
    return BatchOutcome([outcome for outcome in outcomes if isinstance(outcome, Order)])


def _all_right(outcomes: Sequence[Outcome | DomainError]) -> list[Outcome]:
    """The outcomes of a batch of which none is wrong; raises the first wrong one's error."""
    right = []
    for place, outcome in enumerate(outcomes):
        if isinstance(outcome, DomainError):
            raise at_order(place, outcome)
        right.append(outcome)
    return right


def _made(outcome: Order | Hold) -> Order:
    assert isinstance(outcome, Order), "goods that are held need not be held again"
    return outcome
