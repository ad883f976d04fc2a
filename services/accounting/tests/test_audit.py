"""The auditor sees what is wrong, and only that."""

from uuid import UUID

import psycopg
import pytest

from accounting.audit import RULES, auditor_of
from accounting.tests.company import Company, new_id, order
from common.testing import as_user
from erp.audit.v1 import audit_pb2 as pb

# What nobody but an operator with a knife can do, by the rule that must notice it.
DAMAGES = {
    "entries_sum_to_zero": "UPDATE journal_lines SET debit_minor = debit_minor + 1 "
    "WHERE tenant_id = %s AND debit_minor > 0",
    "entries_have_their_lines": "DELETE FROM journal_lines WHERE tenant_id = %s AND position = 2",
    "totals_equal_entries": "UPDATE account_totals SET debit_minor = debit_minor + 1 "
    "WHERE tenant_id = %s",
    "invoice_due_equals_history": "UPDATE invoices SET paid_minor = paid_minor - 1, "
    "state = 'posted' WHERE tenant_id = %s AND paid_minor > 0",
    "payments_unallocated": "UPDATE payments SET unallocated_minor = unallocated_minor + 1 "
    "WHERE tenant_id = %s AND state = 'posted'",
    "one_entry_per_source": "UPDATE invoices SET journal_entry_id = (SELECT id FROM "
    "journal_entries AS entry WHERE entry.tenant_id = invoices.tenant_id LIMIT 1) "
    "WHERE tenant_id = %s",
    "receivables_equal_open_items": "DELETE FROM payments WHERE tenant_id = %s",
    "numbers_without_gap": "UPDATE number_series SET last = last + 1 "
    "WHERE tenant_id = %s AND series = 'INV'",
    "credit_notes_take_back_what_was_invoiced": "UPDATE credit_note_lines "
    "SET quantity = quantity + 1 WHERE tenant_id = %s",
    "closed_periods_stand_on_the_company": "UPDATE companies SET closed_periods = '{2020-01}' "
    "WHERE tenant_id = %s",
    "events_without_gap": "DELETE FROM events WHERE tenant_id = %s AND sequence = 2",
}


async def busy(company: Company) -> None:
    """Have something of everything."""
    customer_id = company.new_customer()
    orders = [order(customer_id=customer_id) for _ in range(3)]
    await company.confirm(*orders)
    await company.cancel(orders[0])
    invoice = await company.invoice_of(orders[1])
    await company.pay(customer_id, "200", [(invoice.id, "119")])
    await company.void((await company.pay(customer_id, "10")).id)


def test_every_rule_is_tried() -> None:
    assert set(DAMAGES) == {rule.name for rule in RULES}


@pytest.mark.parametrize("rule", DAMAGES)
async def test_damage_is_noticed(company: Company, rule: str) -> None:
    await busy(company)
    before = await company.wrongs()

    with psycopg.connect(company.operator_url) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(DAMAGES[rule].encode(), [company.tenant_id])

    found = {item.rule: item for item in await company.wrongs()}
    assert before == []
    assert rule in found
    assert found[rule].service == "accounting"
    assert found[rule].ids
    assert found[rule].detail


async def test_a_broken_series_is_named(company: Company) -> None:
    await busy(company)

    with psycopg.connect(company.operator_url) as connection:
        connection.execute(DAMAGES["numbers_without_gap"].encode(), [company.tenant_id])

    [wrong] = await company.wrongs()
    assert [series[:4] for series in wrong.ids] == ["INV-"]


async def test_the_orders_with_an_invoice_are_listed(company: Company) -> None:
    orders = [order() for _ in range(3)]
    await company.confirm(*orders)
    auditor = auditor_of(company.database)
    expected = sorted(str(UUID(item.order_id)) for item in orders)

    with company.user():
        listed = await auditor.ListOrders(pb.ListOrdersRequest(), None)
        rest = await auditor.ListOrders(pb.ListOrdersRequest(after_id=expected[0]), None)
        positions = await auditor.ListPositions(pb.ListPositionsRequest(), None)
        check = await auditor.CheckInvariants(pb.CheckInvariantsRequest(), None)
    with as_user(UUID(new_id())):
        other = await auditor.ListOrders(pb.ListOrdersRequest(), None)

    assert list(listed.order_ids) == expected
    assert list(rest.order_ids) == expected[1:]
    assert positions.head == 3
    assert list(check.violations) == []
    assert list(other.order_ids) == []
