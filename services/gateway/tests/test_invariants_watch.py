import pytest
from prometheus_client import REGISTRY

from common import caller, ids
from erp.audit.v1.audit_pb2 import Violation
from gateway.invariants_watch import InvariantsWatch, duties


class Books:
    """Two tenants, and what is wrong with the books of each."""

    def __init__(self):
        self.tenants = [ids.new(), ids.new()]
        self.wrong = {}
        self.checked = []

    async def all(self):
        return self.tenants

    async def check(self):
        tenant = caller.current().tenant_id
        self.checked.append(tenant)
        return [Violation(rule=rule, service="sales") for rule in self.wrong.get(tenant, ())]


def violations(rule):
    return REGISTRY.get_sample_value("kv_erp_invariant_violations", {"rule": rule})


@pytest.fixture
def books():
    return Books()


@pytest.fixture
def watch(books):
    return InvariantsWatch(books.check, books.all)


async def test_every_tenant_has_its_turn(books, watch):
    for _ in range(4):
        await watch.check_next()

    assert sorted(books.checked[:2]) == sorted(books.tenants) == sorted(books.checked[2:])


async def test_a_violation_shows_until_it_is_mended(books, watch):
    books.wrong[books.tenants[0]] = ["entries_balance", "entries_balance"]
    books.wrong[books.tenants[1]] = ["entries_balance"]
    for _ in books.tenants:
        await watch.check_next()
    assert (violations("entries_balance"), violations("any")) == (3, 3)

    books.wrong = {books.tenants[1]: ["one_invoice_per_order"]}
    for _ in books.tenants:
        await watch.check_next()

    assert violations("entries_balance") == 0
    assert (violations("one_invoice_per_order"), violations("any")) == (1, 1)


async def test_a_tenant_that_is_gone_violates_nothing(books, watch):
    books.wrong = {tenant: ["entries_balance"] for tenant in books.tenants}
    for _ in range(2):
        await watch.check_next()

    books.tenants, books.wrong = books.tenants[:1], {}
    await watch.check_next()

    assert violations("any") == 0


def test_without_a_time_between_checks_there_are_none(books):
    assert duties(books.check, None, 0) == []
