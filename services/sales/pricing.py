"""What lines cost: net, tax and gross, in minor units of one currency."""

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from common import money
from common.errors import InvalidRequest

# Keeps every sum of every order of a company within what the database and the books can count.
LARGEST_MINOR = 10**15 - 1
# The least quantity of one product that no warehouse could hold in one row.
TOO_MANY_UNITS = Decimal(10**12)


class Priced(Protocol):
    """Anything that costs something."""

    net_minor: int
    tax_minor: int


@dataclass
class Price:
    """An amount without tax, and its tax."""

    net_minor: int
    tax_minor: int

    @property
    def gross_minor(self) -> int:
        """Net plus tax."""
        return self.net_minor + self.tax_minor


def price_line(quantity: Decimal, unit_minor: int, tax_rate: Decimal, pointer: str) -> Price:
    """The price of a line: net and then tax each rounded half up to the minor unit.

    Args:
        quantity: units, with at most 6 decimals.
        unit_minor: price of one unit without tax.
        tax_rate: tax as a fraction of net, with at most 6 decimals.
        pointer: JSON pointer of the line.

    Raises:
        InvalidRequest: the amount is larger than any that we can keep.
    """
    # Before it is multiplied: within this bound decimal arithmetic is exact.
    if unit_minor * int(quantity) > LARGEST_MINOR:
        raise _too_large(pointer)
    net = money.times(unit_minor, quantity)
    price = Price(net, money.times(net, tax_rate))
    if price.gross_minor > LARGEST_MINOR:
        raise _too_large(pointer)
    return price


def total(lines: Iterable[Priced]) -> Price:
    """The price of an order: the sums of its lines.

    Raises:
        InvalidRequest: the amount is larger than any that we can keep.
    """
    listed = list(lines)
    summed = Price(sum(line.net_minor for line in listed), sum(line.tax_minor for line in listed))
    if summed.gross_minor > LARGEST_MINOR:
        raise _too_large("/lines")
    return summed


def _too_large(pointer: str) -> InvalidRequest:
    digits = len(str(LARGEST_MINOR))
    return InvalidRequest.of(pointer, f"must not cost more than {digits} digits of minor units")
