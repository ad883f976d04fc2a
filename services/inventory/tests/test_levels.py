"""The arithmetic of a level, without a database."""

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from common import ids
from inventory.errors import InsufficientStock, TooMuchStock, TooMuchValue
from inventory.levels import MOST_UNITS, MOST_VALUE_MINOR, Key, Level, Levels, Units

MILLIONTH = Decimal("0.000001")
quantities = st.integers(1, 10**12).map(lambda millionths: millionths * MILLIONTH)
whole = st.integers(1, 50).map(Decimal)


def level(**values: object) -> Level:
    return Level(Key(ids.new(), ids.new()), "OAK-TABLE", **values)  # type: ignore[arg-type]


def test_thirds_of_an_awkward_value_add_up_to_all_of_it() -> None:
    one = level()
    one.add(Decimal(3), 10_000)

    costs = [one.take(Decimal(1)) for _ in range(3)]

    assert costs == [3333, 3334, 3333]
    assert (one.on_hand, one.value_minor) == (0, 0)


def test_costs_are_rounded_half_up() -> None:
    one = level()
    one.add(Decimal(2), 5)

    assert one.take(Decimal(1)) == 3
    assert one.take(Decimal(1)) == 2


def test_a_level_beyond_counting_or_booking_is_refused() -> None:
    full = level(on_hand=MOST_UNITS)
    dear = level(on_hand=Decimal(1), value_minor=MOST_VALUE_MINOR)

    with pytest.raises(TooMuchStock):
        full.add(MILLIONTH, 0)
    with pytest.raises(TooMuchValue):
        dear.add(MILLIONTH, 1)


def test_lines_of_one_product_are_held_together_or_not_at_all() -> None:
    one, two = level(on_hand=Decimal(10)), level(on_hand=Decimal(1))
    levels = Levels([one, two], {})
    wanted = [(two, 1), (one, 6), (one, 5)]

    with pytest.raises(InsufficientStock) as refused:
        levels.hold([Units(each.key, Decimal(quantity)) for each, quantity in wanted])

    assert refused.value.requested == 11
    assert levels.changed() == []


def test_shortages_serve_earlier_lines_first() -> None:
    one = level(on_hand=Decimal(10))
    levels = Levels([one], {})

    missing = levels.shortages([Units(one.key, Decimal(q)) for q in (6, 6, 1)])

    assert missing == [0, 2, 1]


def test_a_failed_step_leaves_no_trace() -> None:
    one, two = level(on_hand=Decimal(5)), level(on_hand=Decimal(1))
    levels = Levels([one, two], {})

    with pytest.raises(InsufficientStock), levels.all_or_nothing([one.key, two.key]):
        levels[one.key].hold(Decimal(5))
        levels[two.key].hold(Decimal(2))

    assert levels.changed() == []


@given(quantities, st.integers(0, MOST_VALUE_MINOR), st.lists(quantities, max_size=8))
def test_any_way_of_emptying_a_level_costs_what_it_was_worth(
    quantity: Decimal, value: int, parts: list[Decimal]
) -> None:
    one = level()
    one.add(quantity, value)

    costs = [one.take(part) for part in parts if part <= one.available]
    costs.append(one.take(one.on_hand))

    assert sum(costs) == value
    assert min(costs) >= 0
    assert one.value_minor == 0


class LevelsInUse(RuleBasedStateMachine):
    """A level through any sequence of what can happen to it."""

    def __init__(self) -> None:
        super().__init__()
        self.level = level()
        self.moved = self.worth = self.promised = Decimal(0)

    @rule(quantity=whole, value=st.integers(0, 10_000))
    def receive(self, quantity: Decimal, value: int) -> None:
        self.level.add(quantity, value)
        self.moved += quantity
        self.worth += value

    @rule(quantity=whole)
    def lose(self, quantity: Decimal) -> None:
        if quantity > self.level.available:
            with pytest.raises(InsufficientStock):
                self.level.take(quantity)
            return
        self.worth -= self.level.take(quantity)
        self.moved -= quantity

    @rule(quantity=whole)
    def promise(self, quantity: Decimal) -> None:
        if quantity > self.level.available:
            with pytest.raises(InsufficientStock):
                self.level.hold(quantity)
            return
        self.level.hold(quantity)
        self.promised += quantity

    @rule()
    def ship_a_promise(self) -> None:
        quantity = min(self.promised, Decimal(2))
        self.worth -= self.level.ship(quantity)
        self.promised -= quantity
        self.moved -= quantity

    @rule()
    def free_a_promise(self) -> None:
        quantity = min(self.promised, Decimal(3))
        self.level.free(quantity)
        self.promised -= quantity

    @invariant()
    def the_books_agree(self) -> None:
        assert self.level.on_hand == self.moved
        assert self.level.value_minor == self.worth >= 0
        assert 0 <= self.level.reserved == self.promised <= self.level.on_hand
        assert self.level.on_hand or not self.level.value_minor


TestLevelsInUse = LevelsInUse.TestCase
TestLevelsInUse.settings = settings(max_examples=60, stateful_step_count=30)
