"""Goods on their way between warehouses are neither lost nor doubled, and keep their cost."""

import asyncio

import pytest

from common.errors import InvalidRequest, NotFound
from erp.inventory.v1 import events_pb2 as events
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from inventory.errors import InsufficientStock, ReceivesMoreThanSent, TransferNotInTransit
from inventory.tests.stockroom import Stockroom, new_id, reason_of, state_of


class Carrier:
    """Moves a stockroom's goods between its main warehouse and another."""

    def __init__(self, room: Stockroom, there: str) -> None:
        self.room = room
        self.here, self.there = room.warehouse_id, there

    def at(self, room: Stockroom) -> "Carrier":
        """The same warehouses, at another server."""
        carrier = Carrier(room, self.there)
        carrier.here = self.here
        return carrier

    async def send(
        self, *lines: tuple[str, object], source: str = "", destination: str = ""
    ) -> pb.StockTransfer:
        request = api.TransferStockRequest(
            source_warehouse_id=source or self.here,
            destination_warehouse_id=destination or self.there,
            lines=self._lines(lines),
        )
        with self.room.me():
            return await self.room.rpc.TransferStock(request, None)

    async def receive(self, transfer_id: str, *lines: tuple[str, object]) -> pb.StockTransfer:
        request = api.ReceiveStockTransferRequest(id=transfer_id, lines=self._lines(lines))
        with self.room.me():
            return await self.room.rpc.ReceiveStockTransfer(request, None)

    async def cancel(self, transfer_id: str) -> pb.StockTransfer:
        with self.room.me():
            request = api.CancelStockTransferRequest(id=transfer_id)
            return await self.room.rpc.CancelStockTransfer(request, None)

    async def stock(self, sku: str, warehouse_id: str) -> tuple[str, str]:
        """Units on hand, and what they are worth."""
        request = api.ListStockLevelsRequest(
            product_id=self.room.products[sku], warehouse_id=warehouse_id
        )
        with self.room.me():
            [level] = (await self.room.rpc.ListStockLevels(request, None)).stock_levels
        return level.on_hand, level.value.amount

    def _lines(self, lines: tuple[tuple[str, object], ...]) -> list[api.StockLine]:
        products = self.room.products
        return [
            api.StockLine(product_id=products[sku], quantity=str(quantity))
            for sku, quantity in lines
        ]


@pytest.fixture
async def carrier(inventory: Stockroom) -> Carrier:
    await inventory.receive("OAK-TABLE", 10)
    return Carrier(inventory, (await inventory.add_warehouse("SHOP")).id)


async def test_goods_in_transit_are_in_neither_warehouse_and_keep_their_cost(
    carrier: Carrier,
) -> None:
    sent = await carrier.send(("OAK-TABLE", 3), ("OAK-TABLE", 1))

    [line] = sent.lines
    assert sent.number.startswith("ST-")
    assert sent.state == pb.STOCK_TRANSFER_STATE_IN_TRANSIT
    assert (line.quantity, line.in_transit, line.in_transit_value.amount) == ("4", "4", "280.00")
    assert await carrier.stock("OAK-TABLE", carrier.here) == ("6", "420.00")
    assert await carrier.stock("OAK-TABLE", carrier.there) == ("0", "0.00")

    arrived = await carrier.receive(sent.id)

    assert (arrived.state, arrived.version) == (pb.STOCK_TRANSFER_STATE_RECEIVED, 2)
    assert await carrier.stock("OAK-TABLE", carrier.there) == ("4", "280.00")
    with carrier.room.me():
        request = api.GetStockTransferRequest(id=sent.id)
        assert await carrier.room.rpc.GetStockTransfer(request, None) == arrived
        moved = await carrier.room.rpc.ListStockMovements(api.ListStockMovementsRequest(), None)
    kinds = [(one.kind, one.quantity, one.source.kind) for one in moved.stock_movements[1:]]
    assert kinds == [
        (pb.MOVEMENT_KIND_TRANSFER_OUT, "-4", "transfer"),
        (pb.MOVEMENT_KIND_TRANSFER_IN, "4", "transfer"),
    ]


async def test_a_transfer_arrives_in_parts_that_cost_what_all_of_it_cost(
    inventory: Stockroom, carrier: Carrier
) -> None:
    await inventory.receive("LAMP", 3, cost="33.34")
    sent = await carrier.send(("LAMP", 3), ("OAK-TABLE", 1))

    values = []
    for _ in range(3):
        transfer = await carrier.receive(sent.id, ("LAMP", 1))
        values.append((await carrier.stock("LAMP", carrier.there))[1])
    with pytest.raises(ReceivesMoreThanSent):
        await carrier.receive(sent.id, ("LAMP", 1))
    rest = await carrier.receive(sent.id)

    assert values == ["33.34", "66.68", "100.02"]
    assert transfer.state == pb.STOCK_TRANSFER_STATE_IN_TRANSIT
    assert rest.state == pb.STOCK_TRANSFER_STATE_RECEIVED
    told = inventory.events(events.StockTransferReceived)
    assert [one.complete for one in told] == [False, False, False, True]


async def test_cancelling_puts_what_has_not_arrived_back(carrier: Carrier) -> None:
    sent = await carrier.send(("OAK-TABLE", 5))
    await carrier.receive(sent.id, ("OAK-TABLE", 2))

    cancelled = await carrier.cancel(sent.id)

    assert cancelled.state == pb.STOCK_TRANSFER_STATE_CANCELLED
    [line] = cancelled.lines
    assert (line.received, line.returned, line.in_transit) == ("2", "3", "0")
    assert await carrier.stock("OAK-TABLE", carrier.here) == ("8", "560.00")
    assert await carrier.stock("OAK-TABLE", carrier.there) == ("2", "140.00")
    for late in (carrier.cancel, carrier.receive):
        with pytest.raises(TransferNotInTransit):
            await late(sent.id)


async def test_what_is_reserved_cannot_be_sent_away(inventory: Stockroom, carrier: Carrier) -> None:
    await inventory.receive("LAMP", 5)
    await inventory.reserve({"OAK-TABLE": 8})

    with pytest.raises(InsufficientStock) as refused:
        await carrier.send(("LAMP", 5), ("OAK-TABLE", 3))

    assert (refused.value.sku, refused.value.available) == ("OAK-TABLE", 2)
    assert await carrier.stock("LAMP", carrier.here) == ("5", "350.00")
    assert inventory.events(events.StockTransferSent) == []


async def test_arriving_and_returning_goods_fill_backorders(
    inventory: Stockroom, carrier: Carrier
) -> None:
    sent = await carrier.send(("OAK-TABLE", 6))
    waiting = new_id()
    assert state_of(await inventory.confirm(waiting, {"OAK-TABLE": 7})) == "backordered"

    await carrier.cancel(sent.id)
    assert state_of(await inventory.reservation_of(waiting)) == "held"

    back = await carrier.send(("OAK-TABLE", 3))
    await carrier.receive(back.id)
    again = await carrier.send(("OAK-TABLE", 3), source=carrier.there, destination=carrier.here)
    late = new_id()
    assert state_of(await inventory.confirm(late, {"OAK-TABLE": 2})) == "backordered"
    await carrier.receive(again.id, ("OAK-TABLE", 2))
    assert state_of(await inventory.reservation_of(late)) == "held"


async def test_a_transfer_goes_between_two_warehouses_that_exist(carrier: Carrier) -> None:
    carrier.room.products["GHOST"] = new_id()

    with pytest.raises(InvalidRequest):
        await carrier.send(("OAK-TABLE", 1), destination=carrier.here)
    with pytest.raises(NotFound):
        await carrier.send(("OAK-TABLE", 1), destination=new_id())
    with pytest.raises(NotFound):
        await carrier.send(("OAK-TABLE", 1), source=new_id())
    with pytest.raises(NotFound):
        await carrier.send(("GHOST", 1))
    with pytest.raises(NotFound):
        await carrier.receive(new_id())


async def test_transfers_are_listed_by_state(carrier: Carrier) -> None:
    sent = [await carrier.send(("OAK-TABLE", 1)) for _ in range(3)]
    await carrier.receive(sent[1].id)

    async def listed(state: pb.StockTransferState) -> list[str]:
        request = api.ListStockTransfersRequest(state=state)
        with carrier.room.me():
            found = await carrier.room.rpc.ListStockTransfers(request, None)
        return [transfer.id for transfer in found.stock_transfers]

    assert await listed(pb.STOCK_TRANSFER_STATE_UNSPECIFIED) == [one.id for one in sent]
    assert await listed(pb.STOCK_TRANSFER_STATE_IN_TRANSIT) == [sent[0].id, sent[2].id]


async def test_only_one_of_many_receives_and_cancels_of_a_transfer_counts(
    carrier: Carrier, desks: list[Stockroom]
) -> None:
    sent = await carrier.send(("OAK-TABLE", 4))
    at = [carrier.at(desk) for desk in desks]
    attempts = [act(sent.id) for one in at for act in (one.receive, one.cancel)]

    outcomes = await asyncio.gather(*attempts, return_exceptions=True)

    reasons = sorted(map(reason_of, outcomes))
    assert reasons == ["OK", *["TRANSFER_NOT_IN_TRANSIT"] * (len(attempts) - 1)]
    levels = [await carrier.stock("OAK-TABLE", place) for place in (carrier.here, carrier.there)]
    assert sum(int(on_hand) for on_hand, _ in levels) == 10


async def test_transfers_in_both_directions_at_once_never_deadlock(
    carrier: Carrier, desks: list[Stockroom]
) -> None:
    await carrier.room.receive("LAMP", 10)
    await carrier.receive((await carrier.send(("OAK-TABLE", 5), ("LAMP", 5))).id)
    goods = [("OAK-TABLE", 1), ("LAMP", 1)]

    async def carry(desk: Stockroom, turn: int) -> None:
        one = carrier.at(desk)
        ends = [one.here, one.there][:: 1 if turn % 2 else -1]
        sent = await one.send(*goods[:: 1 if turn % 3 else -1], source=ends[0], destination=ends[1])
        await one.receive(sent.id)

    outcomes = await asyncio.gather(
        *(carry(desk, turn) for turn in range(6) for desk in desks), return_exceptions=True
    )

    assert set(map(reason_of, outcomes)) <= {"OK", "INSUFFICIENT_STOCK"}
    for sku in ("OAK-TABLE", "LAMP"):
        there = [await carrier.stock(sku, place) for place in (carrier.here, carrier.there)]
        assert sum(int(on_hand) for on_hand, _ in there) == 10
        assert sum(float(value) for _, value in there) == 700
