"""What lines cost."""

from decimal import ROUND_HALF_UP, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import InvalidRequest
from sales.pricing import LARGEST_MINOR, Price, price_line, total

quantities = st.integers(1, 10**18 - 1).map(lambda units: Decimal(units).scaleb(-6))
rates = st.integers(0, 10**6).map(lambda millionths: Decimal(millionths).scaleb(-6))
unit_prices = st.integers(0, 10**17)


def rounded(exact: Decimal) -> int:
    return int(exact.to_integral_value(ROUND_HALF_UP))


def test_net_and_tax_are_each_rounded_half_up_to_the_minor_unit() -> None:
    assert price_line(Decimal("0.5"), 1, Decimal("0.5"), "/lines/0") == Price(1, 1)
    assert price_line(Decimal("0.499999"), 1, Decimal(1), "/lines/0") == Price(0, 0)
    assert price_line(Decimal(3), 12_000, Decimal("0.19"), "/lines/0") == Price(36_000, 6_840)


@given(quantities, unit_prices, rates)
def test_a_line_is_priced_exactly_or_refused_as_too_large(
    quantity: Decimal, unit_minor: int, rate: Decimal
) -> None:
    with localcontext(prec=80):
        net = rounded(quantity * unit_minor)
        tax = rounded(net * rate)

    try:
        price = price_line(quantity, unit_minor, rate, "/lines/0")
    except InvalidRequest:
        assert net + tax > LARGEST_MINOR
    else:
        assert (price.net_minor, price.tax_minor) == (net, tax)
        assert net + tax <= LARGEST_MINOR


@given(st.lists(st.tuples(quantities, st.integers(0, 10**6), rates), min_size=1, max_size=20))
def test_an_order_costs_what_its_lines_cost(lines: list[tuple[Decimal, int, Decimal]]) -> None:
    prices = []
    for quantity, unit_minor, rate in lines:
        bounded = min(quantity, Decimal(10**7))
        prices.append(price_line(bounded, unit_minor, rate, "/lines/0"))

    order = total(prices)

    assert order.gross_minor == sum(price.gross_minor for price in prices)
    assert order.gross_minor == order.net_minor + order.tax_minor


def test_what_is_too_large_names_the_line_or_the_lines() -> None:
    with pytest.raises(InvalidRequest, match=r"^/lines/7 must not cost more than 15 digits"):
        price_line(Decimal(10**12), 10**17, Decimal(0), "/lines/7")
    with pytest.raises(InvalidRequest, match=r"^/lines must not cost more than 15 digits"):
        total([Price(LARGEST_MINOR, 0), Price(1, 0)])
