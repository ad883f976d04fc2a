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
