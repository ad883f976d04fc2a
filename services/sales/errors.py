"""The rules of sales that can be broken, each with the values that explain it."""

from dataclasses import dataclass

from common.errors import BrokenRule


@dataclass(eq=False)
class CurrencyMismatch(BrokenRule):
    """A company sells in the currency of its books, to customers who are billed in it."""

    detail = "{field} is in {got}; it must be in {expected}, the currency of the company's books."

    field: str
    expected: str
    got: str


@dataclass(eq=False)
class ProductArchived(BrokenRule):
    """An archived product cannot be sold any more."""

    detail = "{sku} is archived and cannot be sold any more."

    sku: str


@dataclass(eq=False)
class OrderNotDraft(BrokenRule):
    """Only a draft can be confirmed."""

    detail = "The order is {state}; only a draft can be confirmed."

    state: str


@dataclass(eq=False)
class OrderExpired(BrokenRule):
    """A draft whose time is over cannot be confirmed any more."""

    detail = "The order's time was over at {expire_time}."

    expire_time: str


@dataclass(eq=False)
class OrderNotConfirmed(BrokenRule):
    """Only a confirmed order can ship."""

    detail = "The order is {state}; only a confirmed order can ship."

    state: str


@dataclass(eq=False)
class OrderNotReserved(BrokenRule):
    """Only goods that are held for an order can ship."""

    detail = "The order's goods are not held (their reservation is: {reservation_state})."

    reservation_state: str


@dataclass(eq=False)
class ShipsMoreThanOrdered(BrokenRule):
    """A line ships no more than what is still open."""

    detail = "{open} units of line {order_line_id} are still to ship, {requested} requested."

    order_line_id: str
    open: str
    requested: str


@dataclass(eq=False)
class NothingToShip(BrokenRule):
    """All of the order has left already."""

    detail = "All of {number} has been shipped already."

    number: str


@dataclass(eq=False)
class OrderAlreadyShipped(BrokenRule):
    """What has left cannot be called off."""

    detail = "Some of {number} has been shipped, so it cannot be cancelled."

    number: str


@dataclass(eq=False)
class OrderNotCancellable(BrokenRule):
    """An order is called off once."""

    detail = "The order is {state} and cannot be cancelled."

    state: str


@dataclass(eq=False)
class ImpossibleMove(BrokenRule):
    """Something is said to have happened that cannot happen in this state."""

    detail = "The {aspect} cannot go from {now} to {wanted}."

    aspect: str
    now: str
    wanted: str
