"""What goods that come, go or are corrected make in the books."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from accounting.books import Books, open_books
from accounting.entries import JournalEntry, Source, lines_between, post_entries
from common import ids, outbox
from common.database import Transaction
from common.listening import Heard
from common.money import Money
from erp.accounting.v1.events_pb2 import CostOfSalesPosted
from erp.inventory.v1.events_pb2 import StockAdjusted, StockReceived, StockShipped
from erp.types.v1 import money_pb2


@dataclass(frozen=True)
class _Change:
    """A change of the inventory's value, and the role of the account that answers for it."""

    source: Source
    description: str
    # When the goods moved.
    day: date
    # Positive when the inventory is worth more.
    cost: Money
    against: str

    def entry(self, books: Books) -> JournalEntry | None:
        minor = books.minor(self.cost)
        lines = lines_between(books, {"inventory": minor, self.against: -minor})
        if not lines:
            return None
        return JournalEntry(
            ids.new(), self.day, self.description, books.currency, lines, self.source
        )


async def post_receipts(tx: Transaction, received: Sequence[Heard[StockReceived]]) -> None:
    """Post what goods cost that came in, in three statements however many receipts."""
    changes = [
        _Change(
            source=Source("receipt", ids.parse(heard.message.receipt_id, "receipt_id")),
            description=f"Receipt {heard.message.number}",
            day=heard.time.date(),
            cost=_cost(heard.message.cost),
            against="goods_received",
        )
        for heard in received
    ]
    await _post(tx, changes)


async def post_adjustments(tx: Transaction, adjusted: Sequence[Heard[StockAdjusted]]) -> None:
    """Post what was found or lost, in three statements however many adjustments."""
    changes = [
        _Change(
            source=Source("adjustment", ids.parse(heard.message.adjustment_id, "adjustment_id")),
            description=f"Adjustment {heard.message.number}",
            day=heard.time.date(),
            cost=_cost(heard.message.cost),
            against="inventory_adjustment",
        )
        for heard in adjusted
    ]
    await _post(tx, changes)


async def post_shipments(tx: Transaction, shipped: Sequence[Heard[StockShipped]]) -> None:
    """Post what goods cost that left, in three statements however many shipments."""
    changes = [
        _Change(
            source=Source("shipment", shipment_of(heard.message)),
            description="Cost of goods shipped",
            day=heard.time.date(),
            cost=-_cost(heard.message.cost),
            against="cost_of_sales",
        )
        for heard in shipped
    ]
    entries = await _post(tx, changes)
    for heard, entry in zip(shipped, entries, strict=True):
        posted = CostOfSalesPosted(
            order_id=heard.message.order_id,
            shipment_id=heard.message.shipment_id,
            journal_entry_id=str(entry.id) if entry else "",
        )
        outbox.publish(tx, posted, request_id=heard.request_id)


def shipment_of(shipped: StockShipped) -> UUID:
    """What stands for a shipment: itself or, without an order, the first of its movements.

    A direct reservation can ship in parts, so that it can't stand for one of them.
    """
    return ids.parse(shipped.shipment_id or shipped.lines[0].movement_id, "shipment_id")


async def _post(tx: Transaction, changes: Sequence[_Change]) -> list[JournalEntry | None]:
    books = await open_books(tx)
    entries = [change.entry(books) for change in changes]
    await post_entries(tx, books, [entry for entry in entries if entry])
    return entries


def _cost(message: money_pb2.Money) -> Money:
    return Money.from_wire(message, "cost")
