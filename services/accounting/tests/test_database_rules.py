"""What the database itself refuses, whatever a program says."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, inspect
from sqlalchemy.engine import make_url

from accounting import tables
from accounting.tests.company import Company, new_id
from common.testing import ServiceDatabase

ENTRY = """
    INSERT INTO journal_entries (id, number, date, document_date, description, source_kind,
                                 source_id, line_count)
    VALUES (CAST(%(id)s AS uuid), %(id)s, '2026-01-01', '2026-01-01', 'raw', 'manual',
            CAST(%(source)s AS uuid), %(count)s)
"""
LINE = """
    INSERT INTO journal_lines (entry_id, position, account_id, currency, debit_minor, credit_minor)
    SELECT CAST(%(id)s AS uuid), line.position, account.id, 'EUR', line.debit, line.credit
    FROM unnest(CAST(%(debits)s AS bigint[]), CAST(%(credits)s AS bigint[]))
         WITH ORDINALITY AS line (debit, credit, position)
    CROSS JOIN accounts AS account WHERE account.code = '1010'
"""


@contextmanager
def as_program(urls: ServiceDatabase, company: Company) -> Iterator[psycopg.Connection[Any]]:
    """Raw SQL with the rights of the service."""
    with psycopg.connect(urls.app) as connection:
        tenant = str(company.tenant_id)
        connection.execute("SELECT set_config('erp.tenant_id', %s, true)", [tenant])
        yield connection


def write(
    connection: psycopg.Connection[Any],
    debits: list[int],
    credits_: list[int],
    count: int = 2,
    source: str = "",
) -> None:
    """Insert an entry together with its lines."""
    entry_id = new_id()
    values: dict[str, object] = {"id": entry_id, "source": source or entry_id, "count": count}
    values |= {"debits": debits, "credits": credits_}
    connection.execute(f"WITH entry AS ({ENTRY}) {LINE}".encode(), values)


def test_a_balanced_entry_is_taken(urls: ServiceDatabase, company: Company) -> None:
    with as_program(urls, company) as connection:
        write(connection, [5, 0], [0, 5])

    assert company.rows("SELECT count(*) FROM journal_lines WHERE tenant_id = %s") == [(2,)]


@pytest.mark.parametrize(
    ("debits", "credits_", "count", "constraint"),
    [
        ([5, 0], [0, 4], 2, "journal_lines_balance"),
        ([5, 0, 0], [0, 4, 1], 2, "journal_lines_whole"),
        ([5], [0], 1, "journal_entries_two_lines"),
        ([5, 5], [5, 5], 2, "journal_lines_one_side"),
        ([-5, 0], [0, -5], 2, "journal_lines_one_side"),
        ([0, 0], [0, 0], 2, "journal_lines_one_side"),
    ],
)
def test_an_entry_that_is_not_whole_is_refused(
    urls: ServiceDatabase,
    company: Company,
    debits: list[int],
    credits_: list[int],
    count: int,
    constraint: str,
) -> None:
    with (
        pytest.raises(psycopg.errors.CheckViolation) as refused,
        as_program(urls, company) as connection,
    ):
        write(connection, debits, credits_, count)

    assert refused.value.diag.constraint_name == constraint


def test_an_entry_without_lines_is_refused(urls: ServiceDatabase, company: Company) -> None:
    with (
        pytest.raises(psycopg.errors.ForeignKeyViolation),
        as_program(urls, company) as connection,
    ):
        connection.execute(ENTRY.encode(), {"id": new_id(), "source": new_id(), "count": 2})


async def test_nobody_adds_lines_to_a_posted_entry(urls: ServiceDatabase, company: Company) -> None:
    entry = await company.invest("10")
    more = """
        INSERT INTO journal_lines (entry_id, position, account_id, currency,
                                   debit_minor, credit_minor)
        SELECT entry_id, position + 2, account_id, currency, debit_minor, credit_minor
        FROM journal_lines WHERE entry_id = %s
    """

    with (
        pytest.raises(psycopg.errors.CheckViolation) as refused,
        as_program(urls, company) as connection,
    ):
        connection.execute(more.encode(), [entry.id])

    assert refused.value.diag.constraint_name == "journal_lines_whole"


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE journal_entries SET date = '2020-01-01'",
        "DELETE FROM journal_entries",
        "UPDATE journal_lines SET debit_minor = 1",
        "DELETE FROM journal_lines",
        "TRUNCATE journal_lines",
        "UPDATE invoices SET gross_minor = 1",
        "UPDATE invoices SET number = 'INV-0'",
        "DELETE FROM invoices",
        "UPDATE payments SET amount_minor = 1",
        "DELETE FROM payments",
        "UPDATE credit_notes SET gross_minor = 1",
        "DELETE FROM allocations",
        "UPDATE accounts SET role = ''",
        "DELETE FROM account_totals",
        "ALTER TABLE journal_lines DISABLE TRIGGER ALL",
    ],
)
def test_the_service_may_not_change_what_was_recorded(
    urls: ServiceDatabase, company: Company, statement: str
) -> None:
    with (
        pytest.raises(psycopg.errors.InsufficientPrivilege),
        as_program(urls, company) as connection,
    ):
        connection.execute(statement.encode())


async def test_one_record_is_never_in_the_books_twice(
    urls: ServiceDatabase, company: Company
) -> None:
    entry = await company.invest("10")

    with (
        pytest.raises(psycopg.errors.UniqueViolation) as refused,
        as_program(urls, company) as connection,
    ):
        write(connection, [1, 0], [0, 1], source=entry.id)

    assert refused.value.diag.constraint_name == "journal_entries_source"


@pytest.mark.parametrize("table", tables.metadata.sorted_tables, ids=str)
def test_tables_are_declared_as_they_were_migrated(urls: ServiceDatabase, table: Any) -> None:
    engine = create_engine(make_url(urls.owner).set(drivername="postgresql+psycopg"))
    kinds = engine.dialect.type_compiler_instance

    columns = inspect(engine).get_columns(table.name)
    key = inspect(engine).get_pk_constraint(table.name)["constrained_columns"]
    engine.dispose()

    declared = [(item.name, kinds.process(item.type), item.nullable) for item in table.columns]
    found = [(item["name"], kinds.process(item["type"]), item["nullable"]) for item in columns]
    assert declared == found
    assert [item.name for item in table.primary_key] == key
    assert [item.name for item in table.columns if item.computed] == [
        item["name"] for item in columns if "computed" in item
    ]
