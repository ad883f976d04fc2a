"""Every state that an order can be in, and every move between them."""

from collections.abc import Mapping
from dataclasses import dataclass

from sales.errors import ImpossibleMove


@dataclass(frozen=True)
class Lifecycle:
    """The states of one aspect, and to which others each may move."""

    aspect: str
    moves: Mapping[str, frozenset[str]]

    def allows(self, now: str, wanted: str) -> bool:
        """Whether the move is declared."""
        return wanted in self.moves[now]

    def move(self, now: str, wanted: str) -> str:
        """The wanted state.

        Raises:
            ImpossibleMove: there is no such move from the state that it is in now.
        """
        if not self.allows(now, wanted):
            raise ImpossibleMove(self.aspect, now, wanted)
        return wanted


def _declare(aspect: str, **moves: str) -> Lifecycle:
    return Lifecycle(aspect, {now: frozenset(to.split()) for now, to in moves.items()})


ORDER = _declare(
    "order",
    draft="confirmed cancelled expired",
    confirmed="cancelled",
    cancelled="",
    expired="",
)
# Inventory answers a confirmation once, but says so again when goods come in or a try fell short.
RESERVATION = _declare(
    "reservation",
    none="pending",
    pending="reserved backordered released",
    reserved="reserved released",
    backordered="backordered reserved released",
    released="released",
)
# Accounting says again that an invoice was credited when its order is cancelled afterwards.
INVOICE = _declare(
    "invoice",
    none="pending",
    pending="posted",
    posted="credited",
    credited="credited",
)
# Backwards when the warehouse refuses a shipment.
SHIPPING = _declare(
    "shipping",
    none="none partial shipped",
    partial="none partial shipped",
    shipped="none partial shipped",
)
SHIPMENT = _declare(
    "shipment",
    pending="shipped refused",
    shipped="",
    refused="",
)

# The work that other services may have left for an order, in the order in which people read it.
FOLLOW_UPS = ("reservation", "invoice", "release", "credit", "shipment")
