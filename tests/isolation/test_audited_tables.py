"""Every table is either written down by the audit log or said not to be."""

import pytest

from common.testing import TestServers, rows_of

SERVICES = ("inventory", "accounting", "sales", "gateway")
# The machinery of every service, and what cannot be changed or follows from what is written down.
NOT_BUSINESS = {
    "alembic_version",
    "audit_authors",
    "audit_changes",
    "audit_disturbed",
    "audit_entries",
    "audit_seals",
    "event_heads",
    "export_parts",
    "exports",
    "events",
    "failed_jobs",
    "finished_jobs",
    "idempotency_keys",
    "imports",
    "job_batches",
    "job_schedules",
    "jobs",
    "number_series",
    "subscriptions",
}
FOLLOWS = {
    "inventory": {"product_words", "reservation_lines", "stock_levels", "stock_movements"},
    "accounting": {
        "account_totals",
        "credit_note_lines",
        "invoice_lines",
        "journal_lines",
    },
    "sales": {"customer_words", "mails", "shipment_lines"},
    # Logins and mails are said elsewhere; deliveries have a log of their own.
    "gateway": {
        "mails",
        "sessions",
        "tenant_export_parts",
        "webhook_attempts",
        "webhook_deliveries",
        "webhook_health",
    },
}
TABLES = """
    SELECT c.relname::text, EXISTS (
        SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
        WHERE t.tgrelid = c.oid AND p.proname = 'audit_changed' AND t.tgenabled = 'O'
    ) AND EXISTS (
        SELECT FROM pg_trigger AS t JOIN pg_proc AS p ON p.oid = t.tgfoid
        WHERE t.tgrelid = c.oid AND p.proname = 'audit_inserted' AND t.tgenabled = 'O'
    )
    FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition
"""


@pytest.mark.parametrize("service", SERVICES)
def test_no_table_escapes_the_audit_log(service: str, servers: TestServers) -> None:
    tables = dict(rows_of(servers.database(service).operator, TABLES))

    audited = {name for name, is_audited in tables.items() if is_audited}

    assert set(tables) - audited - NOT_BUSINESS == FOLLOWS[service]
    assert audited
