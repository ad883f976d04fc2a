"""Orders listed by filter and order, held against the same done by hand."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common import ids
from common.errors import InvalidRequest
from common.testing import as_user
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1 import sales_service_pb2 as messages
from sales.tests.selling import Shop, counted_statements

# Hypothesis asks the same shop again and again.
on_one_shop = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


async def many_orders(shop: Shop) -> list[pb.Order]:
    """Orders that differ in whatever can be asked about, oldest first."""
    table, chair = shop.add_product("OAK-TABLE", "120.00"), shop.add_product("OAK-CHAIR", "49.99")
    for reference, confirm in (("web-1", False), ("web-1", True), ("", True), ("50%_off", False)):
        await shop.create((table, "2"), reference=reference, confirm=confirm)
        order = await shop.create((chair, "1"), reference=reference, confirm=confirm)
    await shop.reserved_order((table, "2"))
    await shop.cancel(order, reason="changed my mind")
    return await listed(shop)


async def listed(shop: Shop, **fields: Any) -> list[pb.Order]:
    answer = await shop.rpc("ListOrders", messages.ListOrdersRequest(page_size=200, **fields))
    assert answer.next_page_token == ""
    return list(answer.orders)


async def paged(shop: Shop, size: int, **fields: Any) -> list[str]:
    found: list[str] = []
    token = ""
    while True:
        request = messages.ListOrdersRequest(page_size=size, page_token=token, **fields)
        answer = await shop.rpc("ListOrders", request)
        assert len(answer.orders) <= size
        found += [order.id for order in answer.orders]
        token = answer.next_page_token
        if not token:
            return found


def moment(order: pb.Order, name: str) -> datetime | None:
    return getattr(order, name).ToDatetime(UTC) if order.HasField(name) else None


def state(order: pb.Order) -> str:
    return pb.OrderState.Name(order.state).removeprefix("ORDER_STATE_").lower()


# How a field is read from an order, what it is compared with, and by which signs.
FIELDS: dict[str, tuple[Callable[[pb.Order], Any], list[str], list[str]]] = {
    "state": (state, ["draft", "confirmed", "cancelled"], ["=", "!="]),
    "number": (lambda o: o.number, ['""', "SO-2026-000001", "nothing"], ["=", "!="]),
    "reference": (lambda o: o.reference, ['""', "web-1", "WEB-1", '"%"'], ["=", "!=", ":"]),
    "gross.amount": (
        lambda o: Decimal(o.gross.amount),
        ["0", "59.49", "285.6", "1428", "1428.001"],
        ["=", "!=", "<", "<=", ">", ">="],
    ),
    "invoice_id": (lambda o: o.invoice_id, ['""', str(ids.new())], ["=", "!="]),
    "awaiting": (lambda o: list(o.awaiting), ["invoice", "reservation", "*"], [":"]),
    "confirm_time": (
        lambda o: moment(o, "confirm_time"),
        ["2000-01-01T00:00:00Z", "2999-01-01T00:00:00+02:00"],
        ["=", "!=", "<", ">="],
    ),
}
SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "=": lambda ours, theirs: ours == theirs,
    "!=": lambda ours, theirs: ours != theirs,
    "<": lambda ours, theirs: ours is not None and ours < theirs,
    "<=": lambda ours, theirs: ours is not None and ours <= theirs,
    ">": lambda ours, theirs: ours is not None and ours > theirs,
    ">=": lambda ours, theirs: ours is not None and ours >= theirs,
}
Asked = tuple[str, Callable[[pb.Order], bool]]


@st.composite
def comparisons(draw: st.DrawFn) -> Asked:
    name = draw(st.sampled_from(sorted(FIELDS)))
    read, values, signs = FIELDS[name]
    value, sign = draw(st.sampled_from(values)), draw(st.sampled_from(signs))
    plain: Any = value.strip('"')
    if name == "gross.amount":
        plain = Decimal(plain)
    if name == "confirm_time":
        plain = datetime.fromisoformat(plain)

    def holds(order: pb.Order) -> bool:
        ours = read(order)
        if sign != ":":
            return SIGNS[sign](ours, plain)
        if isinstance(ours, list):
            return bool(ours) if plain == "*" else plain in ours
        return plain.lower() in ours.lower()

    return f"{name} {sign} {value}", holds


def combined(terms: st.SearchStrategy[Asked]) -> st.SearchStrategy[Asked]:
    def inverted(term: Asked) -> Asked:
        return f"NOT ({term[0]})", lambda order: not term[1](order)

    def both(one: Asked, other: Asked) -> Asked:
        return f"({one[0]}) AND ({other[0]})", lambda order: one[1](order) and other[1](order)

    def either(one: Asked, other: Asked) -> Asked:
        return f"({one[0]}) OR ({other[0]})", lambda order: one[1](order) or other[1](order)

    return st.one_of(
        terms.map(inverted), st.builds(both, terms, terms), st.builds(either, terms, terms)
    )


@pytest.fixture
async def orders(shop: Shop) -> list[pb.Order]:
    return await many_orders(shop)


@on_one_shop
@given(asked=st.recursive(comparisons(), combined, max_leaves=5))
async def test_a_filter_finds_what_it_says_and_nothing_else(
    shop: Shop, orders: list[pb.Order], asked: Asked
) -> None:
    text, holds = asked

    found = await listed(shop, filter=text)

    assert [order.id for order in found] == [order.id for order in orders if holds(order)]


ORDERS: dict[str, Callable[[pb.Order], Any]] = {
    "number": lambda order: order.number,
    "gross.amount": lambda order: int(order.gross.amount.replace(".", "")),
    "confirm_time": lambda order: moment(order, "confirm_time") or datetime.min.replace(tzinfo=UTC),
    "create_time": lambda order: moment(order, "create_time"),
}
directed = st.tuples(st.sampled_from(sorted(ORDERS)), st.booleans())


@on_one_shop
@given(
    asked=st.lists(directed, max_size=3, unique_by=lambda part: part[0]),
    size=st.integers(1, 6),
)
async def test_pages_of_any_order_hold_every_row_once(
    shop: Shop, orders: list[pb.Order], asked: list[tuple[str, bool]], size: int
) -> None:
    order_by = ", ".join(f"{name} desc" if descending else name for name, descending in asked)
    wanted = sorted(orders, key=lambda order: order.id, reverse=bool(asked and asked[-1][1]))
    for name, descending in reversed(asked):
        wanted.sort(key=ORDERS[name], reverse=descending)

    found = await paged(shop, size, order_by=order_by)

    assert found == [order.id for order in wanted]


async def test_pages_stay_right_while_orders_are_added(shop: Shop) -> None:
    table = shop.add_product()
    before = [(await shop.create((table, "1"))).id for _ in range(3)]
    newest_first = {"order_by": "create_time desc", "page_size": 2}
    first = await shop.rpc("ListOrders", messages.ListOrdersRequest(**newest_first))

    await shop.create((table, "1"))
    token = first.next_page_token
    second = await shop.rpc(
        "ListOrders", messages.ListOrdersRequest(page_token=token, **newest_first)
    )

    assert [order.id for order in [*first.orders, *second.orders]] == before[::-1]


async def test_a_token_holds_for_the_same_question_of_the_same_company(shop: Shop) -> None:
    table = shop.add_product()
    for _ in range(3):
        await shop.create((table, "1"), reference="web-1")
    asked: dict[str, Any] = {"page_size": 1, "filter": "reference = web-1", "order_by": "number"}
    token = (await shop.rpc("ListOrders", messages.ListOrdersRequest(**asked))).next_page_token
    good = messages.ListOrdersRequest(page_token=token, **asked)

    others = [
        {**asked, "filter": "reference = web-2"},
        {**asked, "order_by": "number desc"},
        {**asked, "order_by": ""},
        {**asked, "state": pb.ORDER_STATE_DRAFT},
    ]
    requests = [messages.ListOrdersRequest(page_token=token, **other) for other in others]
    flipped = [
        token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
        for place in range(len(token))
    ]
    requests += [
        messages.ListOrdersRequest(page_token=tampered, **asked)
        for tampered in (*flipped, token[:-1], token + "A", token + "=", "x", "\u00e9", "[]")
    ]

    for request in requests:
        with pytest.raises(InvalidRequest) as refused:
            await shop.rpc("ListOrders", request)
        assert [item.pointer for item in refused.value.violations] == ["/page_token"]
    with as_user(ids.new()), pytest.raises(InvalidRequest):
        await shop.servicer.ListOrders(good, None)
    # Another size is the same question.
    good.page_size = 2
    assert len((await shop.rpc("ListOrders", good)).orders) == 2


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("tenant_id = 1", "must not name tenant_id, only id, number"),
        ("cancel_reason = x", "must not name cancel_reason"),
        ("state = paid", "is one of draft, confirmed, cancelled"),
        ("state = DRAFT", "is one of draft, confirmed, cancelled"),
        ("state : dra", "is no text"),
        ("state < draft", "can be compared by = !=, not by <"),
        ("customer_id = 7", "must be compared with a UUID"),
        ('customer_id = ""', "must be compared with a UUID"),
        ("gross.amount > many", "must be compared with a decimal"),
        ("gross.amount > 1e99", "must be compared with a decimal"),
        ("gross = 7", "must not name gross"),
        ("confirm_time > yesterday", "must be compared with a time"),
        ("confirm_time > 2026-02-30T00:00:00Z", "must be compared with a time"),
        ("confirm_time > 0001-01-01T00:00:00+10:00", "must be compared with a time"),
        ("awaiting = invoice", "can be compared"),
        ("oak", "must be followed by"),
    ],
)
async def test_a_filter_that_makes_no_sense_says_why(shop: Shop, text: str, complaint: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await listed(shop, filter=text)

    [problem] = refused.value.violations
    assert problem.pointer == "/filter"
    assert complaint in problem.rule


@pytest.mark.parametrize(
    "order_by",
    [
        "nothing",
        "number upwards",
        "number,",
        ",",
        "number desc desc",
        "number, number desc",
        "number; SELECT 1",
        "tenant_id",
        "(number)",
        "awaiting",
    ],
)
async def test_an_order_that_makes_no_sense_is_refused(shop: Shop, order_by: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await listed(shop, order_by=order_by)

    assert [item.pointer for item in refused.value.violations] == ["/order_by"]


NASTY = [
    "' OR '1'='1",
    "'; DROP TABLE orders; --",
    '"; SELECT pg_sleep(9); --',
    "%",
    "_",
    "\\",
    "$1",
    ":x",
    "%(x)s",
    "\x00",
    "\ud7ff\U0001f4a9",
    "a" * 1500,
]


@pytest.mark.parametrize("value", NASTY)
async def test_a_value_is_never_more_than_a_value(shop: Shop, value: str) -> None:
    table = shop.add_product()
    await shop.create((table, "1"), reference="web-1")
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')

    for sign in ("=", ":", "<", ">="):
        await listed(shop, filter=f'reference {sign} "{quoted}"')
    assert await listed(shop, filter=f'reference = "{quoted}"') == []
    assert await listed(shop, filter=f'reference : "{quoted}"') == []


async def test_a_list_reads_its_page_in_as_many_statements_as_before(shop: Shop) -> None:
    await many_orders(shop)

    with counted_statements() as statements:
        await listed(shop, filter="state = confirmed", order_by="gross.amount desc")

    assert len([one for one in statements if not one.startswith(("BEGIN", "SET"))]) <= 3
