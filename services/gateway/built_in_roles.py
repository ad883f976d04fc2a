"""The roles that every company has from its first day. They follow the contract as it grows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gateway.permissions import all_permissions

__all__ = ["ADMIN", "BUILT_IN", "permissions_of"]

ADMIN = "admin"


@dataclass(frozen=True)
class BuiltIn:
    """A role that cannot be changed."""

    description: str
    # Those of its permissions that stand for all below them.
    all_of: frozenset[str]
    # Whether it holds a single permission besides.
    holds: Callable[[str], bool]

    @property
    def permissions(self) -> frozenset[str]:
        """What it holds at present."""
        singles = (one for one in all_permissions() if self.holds(one))
        return self.all_of | frozenset(singles)


def _reads(*groups: str) -> Callable[[str], bool]:
    return lambda one: one.startswith(groups) and one.endswith(".read")


BUILT_IN = {
    ADMIN: BuiltIn("Everything in this company.", frozenset({"*"}), _reads("?")),
    "sales": BuiltIn(
        "Customers and orders; sees goods, stock and invoices.",
        frozenset({"sales.*"}),
        _reads("inventory.", "accounting.invoices.", "accounting.taxes."),
    ),
    "warehouse": BuiltIn(
        "Goods and stock; sees orders and ships them.",
        frozenset({"inventory.*", "sales.orders.ship"}),
        _reads("sales.orders.", "sales.customers."),
    ),
    "accountant": BuiltIn(
        "The books; sees sales and stock.",
        frozenset({"accounting.*"}),
        _reads("sales.", "inventory."),
    ),
    "viewer": BuiltIn(
        "Sees goods, stock, sales and books, and changes nothing.",
        frozenset(),
        _reads("inventory.", "accounting.", "sales."),
    ),
}


def permissions_of(built_in: str | None, stored: Sequence[str]) -> frozenset[str]:
    """What a role holds, by its row in the table."""
    return BUILT_IN[built_in].permissions if built_in else frozenset(stored)
