"""The auditor finds what is wrong."""

from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from common.testing import as_user
from erp.audit.v1 import audit_pb2 as pb
from sales.audit import auditor_of
from sales.tests.selling import Shop, cost_posted


async def rules_broken(shop: Shop) -> dict[str, list[str]]:
    with as_user(shop.tenant):
        answer = await auditor_of(shop.database).CheckInvariants(SimpleNamespace(), None)
    assert {violation.service for violation in answer.violations} <= {"sales"}
    assert all(violation.detail for violation in answer.violations)
    return {violation.rule: list(violation.ids) for violation in answer.violations}


async def busy_shop(shop: Shop) -> Any:
    """A shop where everything has happened once; returns an order that has shipped in part."""
    table = shop.add_product()
    await shop.create((table, "1"))
    await shop.cancel(await shop.create((table, "1")))
    await shop.cancel(await shop.create((table, "1"), confirm=True))
    order = await shop.reserved_order((table, "2"), (table, "1"))
    order = await shop.ship(order, (order.lines[0].id, "1"))
    await shop.hear(cost_posted(order, order.shipments[0].id))
    return await shop.ship(order, (order.lines[1].id, "0.5"))


async def test_a_busy_shop_breaks_no_rule(shop: Shop) -> None:
    await busy_shop(shop)

    assert await rules_broken(shop) == {}


@pytest.mark.parametrize(
    ("rule", "damage"),
    [
        (
            "order_sums_equal_lines",
            "UPDATE orders SET net_minor = 0, gross_minor = tax_minor WHERE id = %(order)s",
        ),
        ("shipped_equals_shipments", "UPDATE order_lines SET shipped = 2 WHERE id = %(line)s"),
        (
            "shipment_state_follows_lines",
            "UPDATE orders SET shipment_state = 'shipped' WHERE id = %(order)s",
        ),
        ("pending_shipments_are_awaited", "UPDATE orders SET awaiting = '{}' WHERE id = %(order)s"),
        (
            "awaiting_follows_states",
            "UPDATE orders SET awaiting = '{shipment,invoice}' WHERE id = %(order)s",
        ),
    ],
)
async def test_a_damaged_order_is_found(shop: Shop, rule: str, damage: str) -> None:
    order = await busy_shop(shop)
    line = order.lines[0].id

    with psycopg.connect(shop.urls.operator) as connection:
        connection.execute(damage.encode(), {"order": order.id, "line": line})

    broken = await rules_broken(shop)
    assert broken == {rule: [line if rule == "shipped_equals_shipments" else order.id]}


@pytest.mark.parametrize(
    ("damage", "series"),
    [
        ("UPDATE number_series SET last = last + 1 WHERE series = 'C' AND tenant_id = %s", "C-0"),
        ("UPDATE customers SET number = 'C-000009' WHERE tenant_id = %s", "C-0"),
        ("DELETE FROM number_series WHERE series = 'SH' AND tenant_id = %s", "SH-"),
    ],
)
async def test_a_missing_number_is_found(shop: Shop, damage: str, series: str) -> None:
    await busy_shop(shop)

    with psycopg.connect(shop.urls.operator) as connection:
        connection.execute(damage.encode(), [shop.tenant])

    (found,) = (await rules_broken(shop))["numbers_without_gap"]
    assert found.startswith(series)


async def test_a_missing_event_is_found(shop: Shop) -> None:
    await busy_shop(shop)

    with psycopg.connect(shop.urls.operator) as connection:
        connection.execute(
            "DELETE FROM events WHERE tenant_id = %s AND sequence = 2", [shop.tenant]
        )

    assert list(await rules_broken(shop)) == ["events_without_gap"]


async def test_the_orders_that_were_ever_confirmed_are_listed_by_id(shop: Shop) -> None:
    table = shop.add_product()
    await shop.create((table, "1"))
    first = await shop.create((table, "1"), confirm=True)
    second = await shop.create((table, "1"), confirm=True)
    await shop.cancel(second)
    auditor = auditor_of(shop.database)

    with as_user(shop.tenant):
        both = await auditor.ListOrders(pb.ListOrdersRequest(), None)
        rest = await auditor.ListOrders(pb.ListOrdersRequest(after_id=first.id), None)
        none = await auditor.ListOrders(pb.ListOrdersRequest(after_id=second.id), None)
        positions = await auditor.ListPositions(pb.ListPositionsRequest(), None)

    assert list(both.order_ids) == [first.id, second.id]
    assert list(rest.order_ids) == [second.id]
    assert list(none.order_ids) == []
    # A customer, two confirmations, a cancellation.
    assert positions.head == 4
