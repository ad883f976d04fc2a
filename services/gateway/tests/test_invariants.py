import pytest

from common.testing import as_user
from erp.audit.v1 import audit_pb2 as pb
from erp.events.v1.events_pb2 import Event, ReadResponse
from gateway.invariants import Invariants


class Service:
    """A service as its auditor would describe it."""

    def __init__(self, orders=(), head=10, positions=(), violations=(), page=3):
        self.orders = sorted(orders)
        self.head = head
        self.positions = positions
        self.violations = violations
        self.page = page

    async def CheckInvariants(self, request):
        return pb.CheckInvariantsResponse(violations=self.violations)

    async def ListOrders(self, request):
        rest = [order for order in self.orders if order > request.after_id]
        return pb.ListOrdersResponse(order_ids=rest[: self.page])

    async def ListPositions(self, request):
        positions = [pb.Position(listener=a, source=b, sequence=c) for a, b, c in self.positions]
        return pb.ListPositionsResponse(positions=positions, head=self.head)


class SalesLog:
    """Confirmations by order, with their sequence."""

    def __init__(self, **confirmed):
        self.confirmed = confirmed

    async def Read(self, request):
        found = [
            Event(subject=order, sequence=sequence)
            for order, sequence in sorted(self.confirmed.items(), key=lambda item: item[1])
            if sequence > request.after and order in request.subjects
        ]
        return ReadResponse(events=found[: request.limit], position=10)


IN_STEP = [("high", "sales", 10)]


def orders(count: int) -> list[str]:
    return [f"order-{number:05}" for number in range(count)]


async def check(tenant, log=None, own_head=1, **services):
    defaults = {
        "sales": Service(),
        "inventory": Service(positions=IN_STEP),
        "accounting": Service(positions=IN_STEP),
    }

    async def head() -> int:
        return own_head

    async def untouched() -> list[pb.Violation]:
        return []

    with as_user(tenant):
        return await Invariants(defaults | services, log or SalesLog(), head, untouched).check()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 100])
async def test_services_that_agree_break_no_promise(tenant, count):
    found = await check(
        tenant,
        sales=Service(orders(count)),
        inventory=Service(orders(count), positions=IN_STEP, page=2),
        accounting=Service(orders(count), positions=IN_STEP, page=7),
    )

    assert found == []


async def test_what_a_service_finds_in_itself_is_passed_on(tenant):
    own = pb.Violation(rule="stock_equals_movements", service="inventory", ids=["x"])

    assert await check(tenant, inventory=Service(violations=[own])) == [own]


@pytest.mark.parametrize("missing", [0, 1, 50, 98, 99])
async def test_a_confirmed_order_without_an_invoice_is_found_wherever_it_is(tenant, missing):
    ids = orders(100)
    log = SalesLog(**dict.fromkeys(ids, 5))

    (found,) = await check(
        tenant,
        log,
        sales=Service(ids),
        inventory=Service(ids, positions=IN_STEP, page=9),
        accounting=Service(ids[:missing] + ids[missing + 1 :], positions=IN_STEP, page=4),
    )

    assert (found.rule, found.service) == ("one_invoice_per_order", "accounting")
    assert list(found.ids) == [ids[missing]]


async def test_an_order_whose_confirmation_is_still_on_its_way_is_no_violation(tenant):
    ids = orders(4)
    log = SalesLog(**{ids[0]: 1, ids[1]: 2, ids[2]: 6, ids[3]: 7})
    behind = [("high", "sales", 5), ("low", "sales", 1)]

    found = await check(
        tenant,
        log,
        sales=Service(ids),
        inventory=Service(ids, positions=IN_STEP),
        accounting=Service(ids[:1], positions=behind),
    )

    assert [list(violation.ids) for violation in found] == [[ids[1]]]


async def test_a_service_that_has_not_begun_to_listen_is_only_late(tenant):
    ids = orders(2)
    log = SalesLog(**dict.fromkeys(ids, 1))

    found = await check(
        tenant,
        log,
        sales=Service(ids),
        inventory=Service(ids, positions=IN_STEP),
        accounting=Service(),
    )

    assert found == []


async def test_a_reservation_for_an_order_that_was_never_confirmed_is_found(tenant):
    ids = orders(3)
    log = SalesLog(**{ids[1]: 9})

    (found,) = await check(
        tenant,
        log,
        sales=Service(ids[2:]),
        inventory=Service(ids, positions=IN_STEP),
        accounting=Service(ids[2:], positions=IN_STEP),
    )

    assert (found.rule, list(found.ids)) == ("no_reservation_without_order", [ids[0]])


async def test_many_violations_are_counted_and_a_hundred_named(tenant):
    ids = orders(500)

    found = await check(
        tenant,
        sales=Service(ids, page=50),
        inventory=Service(positions=IN_STEP),
        accounting=Service(ids, positions=IN_STEP, page=60),
    )

    assert len(found[0].ids) == 100
    assert found[0].detail == "500 confirmed orders have no reservation"


async def test_a_listener_ahead_of_what_it_listens_to_is_found(tenant):
    positions = [("high", "sales", 11), ("low", "gateway", 3), ("high", "inventory", 10)]

    found = await check(tenant, own_head=2, accounting=Service(positions=positions))

    assert [(item.service, list(item.ids)) for item in found] == [
        ("accounting", ["high"]),
        ("accounting", ["low"]),
    ]
