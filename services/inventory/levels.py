"""How much of each product each warehouse holds, promises and is worth."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

from common.errors import NotFound
from common.money import share_of
from inventory.errors import InsufficientStock, TooMuchStock, TooMuchValue

NOTHING = Decimal(0)
MOST_UNITS = Decimal("999999999999.999999")
# Of one level and of one document: far beyond any stock, far below where sums of sums overflow.
MOST_VALUE_MINOR = 10**15


class Key(NamedTuple):
    """One product in one warehouse; also the order in which levels are locked."""

    product_id: UUID
    warehouse_id: UUID


class Absent(NamedTuple):
    """What does not exist of a key: "product" or "warehouse", and its id."""

    kind: str
    id: UUID


class Units(NamedTuple):
    """So many units of one product in one warehouse."""

    key: Key
    quantity: Decimal


@dataclass
class Level:
    """One product in one warehouse. Always 0 <= reserved <= on_hand; nothing is worth nothing."""

    key: Key
    sku: str
    archived: bool = False
    on_hand: Decimal = NOTHING
    reserved: Decimal = NOTHING
    value_minor: int = 0
    # Later backorders have not been tried since stock became available; None when all have.
    backorders_tried_to: UUID | None = None
    version: int = 0

    @property
    def available(self) -> Decimal:
        """Units that are there and not promised."""
        return self.on_hand - self.reserved

    def hold(self, quantity: Decimal) -> None:
        """Promise units.

        Raises:
            InsufficientStock: not so many are available.
        """
        self._demand(quantity)
        self.reserved += quantity

    def free(self, quantity: Decimal) -> None:
        """Take a promise back."""
        self.reserved -= quantity

    def add(self, quantity: Decimal, value_minor: int) -> None:
        """Put units there that cost this much together.

        Raises:
            TooMuchStock: that would be more units than can be counted.
            TooMuchValue: that would be worth more than the books can hold.
        """
        if self.on_hand + quantity > MOST_UNITS:
            raise TooMuchStock(self.sku, MOST_UNITS)
        if self.value_minor + value_minor > MOST_VALUE_MINOR:
            raise TooMuchValue(self.sku, MOST_VALUE_MINOR)
        self.on_hand += quantity
        self.value_minor += value_minor

    def take(self, quantity: Decimal) -> int:
        """Take units away that nobody was promised, and say what they cost.

        Raises:
            InsufficientStock: not so many are available.
        """
        self._demand(quantity)
        cost = self.cost_of(quantity)
        self.on_hand -= quantity
        self.value_minor -= cost
        return cost

    def ship(self, quantity: Decimal) -> int:
        """Take promised units away, and say what they cost."""
        self.free(quantity)
        return self.take(quantity)

    def cost_of(self, quantity: Decimal) -> int:
        """What units cost by moving average, in minor units, rounded half up.

        All that is there costs all that it is worth, so a value ends at exactly 0 with its units.
        """
        return share_of(self.value_minor, quantity, self.on_hand)

    def insufficient(self, requested: Decimal) -> InsufficientStock:
        """The error that so many are not available."""
        return InsufficientStock(self.sku, requested, self.available, *self.key)

    def _demand(self, quantity: Decimal) -> None:
        if quantity > self.available:
            raise self.insufficient(quantity)


class Levels:
    """The levels that a transaction has locked, as it is about to leave them."""

    def __init__(self, levels: Iterable[Level], unknown: Mapping[Key, Absent]) -> None:
        self._levels = {level.key: level for level in levels}
        self._stored = {key: replace(level) for key, level in self._levels.items()}
        self._unknown = dict(unknown)

    def __getitem__(self, key: Key) -> Level:
        if key in self._unknown:
            raise NotFound(*self._unknown[key])
        return self._levels[key]

    def covers(self, keys: Iterable[Key]) -> bool:
        """Whether all of these are locked, or do not exist."""
        return all(key in self._levels or key in self._unknown for key in keys)

    def include(self, more: "Levels") -> None:
        """Also work with these."""
        for key, level in more._levels.items():  # noqa: SLF001 (of its own kind)
            self._levels[key] = level
            self._stored[key] = replace(level)

    def changed(self) -> list[Level]:
        """The levels that are no longer as they were stored."""
        return [level for key, level in self._levels.items() if level != self._stored[key]]

    def trial(self) -> "Levels":
        """A copy to try things on."""
        copy = Levels((), self._unknown)
        copy._levels = {key: replace(level) for key, level in self._levels.items()}
        copy._stored = self._stored
        return copy

    @contextmanager
    def all_or_nothing(self, keys: Collection[Key]) -> Iterator[None]:
        """Undo what is done to these levels inside if it ends in an error."""
        before = [replace(self[key]) for key in keys]
        try:
            yield
        except BaseException:
            self._levels.update((level.key, level) for level in before)
            raise

    def shortages(self, wanted: Iterable[Units]) -> list[Decimal]:
        """Units that are missing for each of these, when the earlier ones are served first."""
        left: dict[Key, Decimal] = {}
        missing = []
        for key, quantity in wanted:
            available = left.get(key, self[key].available)
            missing.append(max(quantity - available, NOTHING))
            left[key] = max(available - quantity, NOTHING)
        return missing

    def hold(self, wanted: Collection[Units]) -> None:
        """Promise all of these, or nothing.

        Raises:
            NotFound: there is no such product or warehouse.
            InsufficientStock: names the first product of which there is not enough.
        """
        total = totals(wanted)
        for key, quantity in total.items():
            if quantity > self[key].available:
                raise self[key].insufficient(quantity)
        for key, quantity in total.items():
            self[key].hold(quantity)

    def free(self, units: Iterable[Units]) -> None:
        """Take promises back."""
        for key, quantity in units:
            self[key].free(quantity)


def totals(units: Iterable[Units]) -> dict[Key, Decimal]:
    """The units of each product together, in the order in which the products come first."""
    total: dict[Key, Decimal] = {}
    for key, quantity in units:
        total[key] = total.get(key, NOTHING) + quantity
    return total
