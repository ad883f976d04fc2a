"""Customers in files: how their rows are read in and written out."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

from sqlalchemy import select, text

from common import ids, jobs, money, numbers, outbox, validation
from common.bulk import insert_rows, update_rows
from common.database import Transaction
from common.errors import DomainError, InvalidRequest, NotFound
from common.files.exports import Export, write_out
from common.files.reading import Effect, Outcome, Reader, read_in
from common.files.tabular import Columns, Row
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1.jobs_pb2 import RunCustomerExport, RunCustomerImport
from erp.sales.v1.sales_service_pb2 import CreateCustomerRequest
from sales import companies, tables
from sales.customers import SERIES, Customer

COLUMNS = Columns(("number", "name", "email", "currency_code"))
_PAGE_ROWS = 1_000

# A mail address is nobody's key, so imports of one company look and write one after another.
_ONE_AT_A_TIME = text("""
    SELECT pg_advisory_xact_lock(hashtextextended(:tenant_id || ' reads customers in', 0))
""")
_LOCK = text("""
    SELECT id, number, name, email, currency_code, version, created_at, updated_at FROM customers
    WHERE number = ANY(CAST(:numbers AS text[]))
       OR email <> '' AND lower(email) = ANY(CAST(:emails AS text[]))
    ORDER BY id FOR UPDATE
""")


@dataclass
class _Changes:
    """What rows come to."""

    currency: str
    known: Sequence[Customer]
    made: list[Customer]
    changed: list[Customer]

    def decide(self, row: Row) -> Effect:
        """What a row does.

        Raises:
            DomainError: it is wrong.
        """
        before = self._before(row)
        wanted = _wanted(row, before, self.currency)
        if before is None:
            self.made.append(wanted)
            return Effect.CREATED
        if replace(wanted, updated_at=before.updated_at) == before:
            return Effect.UNCHANGED
        self.changed.append(replace(wanted, version=before.version + 1))
        return Effect.UPDATED

    def _before(self, row: Row) -> Customer | None:
        if number := row.cells.get("number"):
            found = self._of(number=number)
            if not found:
                raise NotFound("customer", number)
            return found[0]
        email = row.cells.get("email")
        if not email:
            rule = "or a number must be there, so that a customer is not made twice"
            raise InvalidRequest.of("/email", rule)
        found = self._of(email=email)
        if len(found) > 1:
            rule = "is the address of several customers: name one by its number"
            raise InvalidRequest.of("/email", rule)
        return found[0] if found else None

    def _of(self, *, number: str = "", email: str = "") -> list[Customer]:
        return [
            customer
            for customer in self.known
            if (number and customer.number == number)
            or (email and customer.email.lower() == email.lower())
        ]


def _wanted(row: Row, before: Customer | None, currency: str) -> Customer:
    """The customer that a row asks for; what it does not say stays as it is."""
    request = CreateCustomerRequest(name=row.cells.get("name", before.name if before else ""))
    email = row.cells.get("email", before.email if before else "")
    if email:
        request.email = email
    request.currency_code = row.cells.get(
        "currency_code", before.currency_code if before else currency
    )
    validation.check(request)
    _demand_sense(request, before)
    now = datetime.now(UTC)
    return Customer(
        id=before.id if before else ids.new(),
        number=before.number if before else "",
        name=request.name,
        email=email,
        currency_code=request.currency_code,
        version=before.version if before else 1,
        created_at=before.created_at if before else now,
        updated_at=now,
    )


def _demand_sense(request: CreateCustomerRequest, before: Customer | None) -> None:
    if not request.name.strip():
        raise InvalidRequest.of("/name", "must not be blank")
    if before and before.currency_code != request.currency_code:
        rule = f"cannot be changed; it is {before.currency_code}"
        raise InvalidRequest.of("/currency_code", rule)
    try:
        money.decimals_of(request.currency_code)
    except KeyError:
        raise InvalidRequest.of("/currency_code", "is not a currency of ISO 4217") from None


async def apply_rows(tx: Transaction, rows: Sequence[Row], write: bool) -> list[Outcome]:
    """Make new customers and change those that are there, known by number, or else by address."""
    if write:
        await tx.execute(_ONE_AT_A_TIME, {"tenant_id": str(tx.tenant_id)})
    keys = {
        "numbers": [row.cells["number"] for row in rows if "number" in row.cells],
        "emails": [row.cells["email"].lower() for row in rows if "email" in row.cells],
    }
    known = [Customer.of_row(row) for row in await tx.rows(_LOCK, keys)]
    changes = _Changes(await companies.get_currency(tx), known, [], [])
    outcomes = [_decided(changes, row) for row in rows]
    if write:
        await _write(tx, changes)
    return outcomes


def _decided(changes: _Changes, row: Row) -> Outcome:
    try:
        return changes.decide(row)
    except DomainError as error:
        return error


async def _write(tx: Transaction, changes: _Changes) -> None:
    taken = await numbers.take(tx, SERIES, len(changes.made), year=0)
    made = [
        replace(customer, number=number)
        for customer, number in zip(changes.made, taken, strict=True)
    ]
    await insert_rows(tx, tables.customers, [vars(customer) for customer in made])
    await update_rows(tx, tables.customers, ("id",), [vars(one) for one in changes.changed])
    for one in made:
        event = events.CustomerCreated(customer_id=str(one.id), number=one.number, name=one.name)
        outbox.publish(tx, event)
    for one in changes.changed:
        outbox.publish(tx, events.CustomerChanged(customer_id=str(one.id), version=one.version))
    tx.outdate(*(one.id for one in changes.changed))


def _key(row: Row) -> tuple[str, ...] | None:
    if number := row.cells.get("number"):
        return ("number", number)
    email = row.cells.get("email")
    return ("email", email.lower()) if email else None


READER = Reader(COLUMNS, _key, apply_rows)


async def all_rows(tx: Transaction, _export: Export) -> AsyncIterator[list[list[str]]]:
    """All customers, oldest first."""
    customers, after = tables.customers, UUID(int=0)
    while True:
        page = select(customers).where(customers.c.id > after).order_by(customers.c.id)
        rows = await tx.rows(page.limit(_PAGE_ROWS))
        if not rows:
            return
        yield [[row.number, row.name, row.email, row.currency_code] for row in rows]
        after = rows[-1].id


@jobs.handles(RunCustomerImport, queue="low", tries=5, timeout=900)
async def run_import(work: jobs.Work[RunCustomerImport]) -> None:
    """Read customers in."""
    await read_in(work, UUID(work.message.import_id), READER)


@jobs.handles(RunCustomerExport, queue="low", tries=5, timeout=300)
async def run_export(work: jobs.Work[RunCustomerExport]) -> None:
    """Write customers to a file."""
    await write_out(work, UUID(work.message.export_id), COLUMNS, all_rows)
