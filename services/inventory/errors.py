"""The rules of the inventory, as the errors that name them."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from common.errors import BrokenRule
from common.money import format_quantity


@dataclass(eq=False)
class InventoryRule(BrokenRule):
    """A rule whose quantities read as people write them: "3", not "3.000000"."""

    def values(self) -> dict[str, str]:
        """The fields by name, as strings."""
        return {
            name: _in_words(getattr(self, name), text) for name, text in super().values().items()
        }


def _in_words(value: object, text: str) -> str:
    return format_quantity(value) if isinstance(value, Decimal) else text


@dataclass(eq=False)
class InsufficientStock(InventoryRule):
    """More is asked for than is there and not promised to somebody else."""

    detail = "Only {available} of {sku} left, {requested} requested."

    sku: str
    requested: Decimal
    available: Decimal
    product_id: UUID
    warehouse_id: UUID


@dataclass(eq=False)
class SkuTaken(InventoryRule):
    """Another product of the company has this stock keeping unit."""

    detail = "There is already a product {sku}."

    sku: str


@dataclass(eq=False)
class CodeTaken(InventoryRule):
    """Another warehouse of the company has this code."""

    detail = "There is already a warehouse {code}."

    code: str


@dataclass(eq=False)
class ProductArchived(InventoryRule):
    """The product is no longer traded."""

    detail = "{sku} is archived: it can no longer be received or reserved."

    sku: str
    product_id: UUID


@dataclass(eq=False)
class CurrencyMismatch(InventoryRule):
    """The company's books are kept in one currency, and stock is valued in it."""

    detail = "{field} is in {currency_code}, but the company's books are kept in {expected}."

    field: str
    currency_code: str
    expected: str


@dataclass(eq=False)
class TooMuchStock(InventoryRule):
    """A level beyond what can be counted."""

    detail = "{sku} would have more than {most} units in one warehouse."

    sku: str
    most: Decimal


@dataclass(eq=False)
class TooMuchValue(InventoryRule):
    """A value beyond what the books can hold."""

    detail = "{what} would be worth more than {most} in the currency's minor unit."

    what: str
    most: int


@dataclass(eq=False)
class ReservationNotHeld(InventoryRule):
    """Nothing of the reservation is held any more, or not yet."""

    detail = "Reservation {id} is {state}, so there is nothing held to release or ship."

    id: UUID
    state: str


@dataclass(eq=False)
class ReservationBelongsToOrder(InventoryRule):
    """A confirmed order made the reservation; only the order can end it."""

    detail = "Reservation {id} belongs to order {order_id}. Ship or cancel the order instead."

    id: UUID
    order_id: UUID | None


@dataclass(eq=False)
class ShipsMoreThanHeld(InventoryRule):
    """The shipment takes more of a product than the reservation still holds."""

    detail = "{requested} of product {product_id} cannot ship: {left} are held."

    product_id: UUID
    requested: Decimal
    left: Decimal


@dataclass(eq=False)
class TransferNotInTransit(InventoryRule):
    """All of the transfer has arrived or went back."""

    detail = "Transfer {number} is {state}, so nothing of it is on its way."

    id: UUID
    number: str
    state: str


@dataclass(eq=False)
class ReceivesMoreThanSent(InventoryRule):
    """More of a product is to arrive than is on its way."""

    detail = "{requested} of product {product_id} cannot arrive: {left} are in transit."

    product_id: UUID
    requested: Decimal
    left: Decimal


@dataclass(eq=False)
class NothingToCount(InventoryRule):
    """The warehouse holds nothing, and no product was named."""

    detail = "Warehouse {warehouse_id} holds nothing to count. Name the products to look for."

    warehouse_id: UUID


@dataclass(eq=False)
class CountTooLarge(InventoryRule):
    """A count of more products than can be posted together."""

    detail = "{products} products are too many for one count. Name {most} at most."

    products: int
    most: int


@dataclass(eq=False)
class AlreadyBeingCounted(InventoryRule):
    """A product is in one open count of a warehouse at most."""

    detail = "{sku} is in an open count of this warehouse already."

    sku: str
    product_id: UUID


@dataclass(eq=False)
class CountNotOpen(InventoryRule):
    """A count that was posted or given up stays as it is."""

    detail = "Count {number} is {state}."

    id: UUID
    number: str
    state: str


@dataclass(eq=False)
class CountIncomplete(InventoryRule):
    """A count is posted when all of its products were counted."""

    detail = "{left} products have not been counted, {sku} among them."

    left: int
    sku: str


@dataclass(eq=False)
class CountedBelowReserved(InventoryRule):
    """The difference would take away what is promised."""

    detail = "{missing} of {sku} are missing, but only {available} there are not reserved."

    sku: str
    missing: Decimal
    available: Decimal
    product_id: UUID
