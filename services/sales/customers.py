"""Who buys: their number, how to reach them, and the currency they are billed in."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self
from uuid import UUID

from sqlalchemy import Row, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from common import caller, ids, money, numbers, outbox
from common.bulk import insert_rows
from common.database import Transaction
from common.errors import InvalidRequest, NotFound
from common.listing import Listing
from common.optimistic import update_version
from common.pagination import Page
from common.search import Search
from common.wire import timestamp
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1 import sales_service_pb2 as rpc
from sales import companies, tables

SERIES = "C"
_LIST = Listing(rpc.ListCustomersRequest, tables.customers.c, "id")
_SEARCH = Search(tables.customers.c.id, tables.customer_words)
_UPDATABLE = ("name", "email")


@dataclass(frozen=True)
class Customer:
    """Somebody who buys."""

    id: UUID
    number: str
    name: str
    email: str
    currency_code: str
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of_row(cls, row: Row[Any]) -> Self:
        """The customer in a row of the table."""
        columns = row._asdict()
        return cls(**{name: columns[name] for name in cls.__dataclass_fields__})

    def to_wire(self) -> pb.Customer:
        """The customer as it travels."""
        return pb.Customer(
            id=str(self.id),
            number=self.number,
            name=self.name,
            email=self.email,
            currency_code=self.currency_code,
            version=self.version,
            create_time=timestamp(self.created_at),
            update_time=timestamp(self.updated_at),
        )


@dataclass(frozen=True)
class CreateCustomer:
    """Adds a customer, billed in the currency of the company's books unless another is named."""

    name: str
    email: str
    currency_code: str
    request_id: str

    @classmethod
    def from_wire(cls, request: rpc.CreateCustomerRequest) -> Self:
        """Read the request.

        Raises:
            InvalidRequest: the name is blank, or there is no such currency.
        """
        _demand_name(request.name)
        if request.currency_code:
            _demand_currency(request.currency_code)
        request_id = caller.current().request_id
        return cls(request.name, request.email, request.currency_code, request_id)


@dataclass(frozen=True)
class UpdateCustomer:
    """Changes some fields of one version of a customer."""

    id: UUID
    version: int
    values: Mapping[str, str]

    @classmethod
    def from_wire(cls, request: rpc.UpdateCustomerRequest) -> Self:
        """Read the request: the fields that the mask names, or without a mask those that are there.

        Raises:
            InvalidRequest: the mask names nothing or what cannot change, or a value is not one.
        """
        present = [name for name in _UPDATABLE if getattr(request, name)]
        paths = list(request.update_mask.paths) or present
        if not paths or not set(paths) <= set(_UPDATABLE):
            raise InvalidRequest.of("/update_mask", f"must name some of {', '.join(_UPDATABLE)}")
        values = {path: getattr(request, path) for path in paths}
        if "name" in values:
            _demand_name(values["name"])
        if not values.get("email", "given"):
            raise InvalidRequest.of("/email", "must be a valid email address")
        return cls(ids.parse(request.id, "id"), request.version, values)


async def create_customers(tx: Transaction, commands: Sequence[CreateCustomer]) -> list[Customer]:
    """Add customers, numbered in the order in which they came.

    Raises:
        Unavailable: the company is so new that we have not heard of it yet.
    """
    currency = await companies.get_currency(tx)
    taken = await numbers.take(tx, SERIES, len(commands), year=0)
    created = [
        _create(command, number, currency) for command, number in zip(commands, taken, strict=True)
    ]
    await insert_rows(tx, tables.customers, [vars(customer) for customer in created])
    for command, customer in zip(commands, created, strict=True):
        event = events.CustomerCreated(
            customer_id=str(customer.id), number=customer.number, name=customer.name
        )
        outbox.publish(tx, event, request_id=command.request_id)
    return created


def _create(command: CreateCustomer, number: str, currency: str) -> Customer:
    now = datetime.now(UTC)
    return Customer(
        id=ids.new(),
        number=number,
        name=command.name,
        email=command.email,
        currency_code=command.currency_code or currency,
        version=1,
        created_at=now,
        updated_at=now,
    )


async def update_customer(tx: Transaction, command: UpdateCustomer) -> Customer:
    """Change a customer.

    Raises:
        NotFound: there is none with this id.
        ConcurrentModification: it has another version by now.
    """
    row = await update_version(
        tx, tables.customers, "customer", command.id, command.version, command.values
    )
    changed = events.CustomerChanged(customer_id=str(command.id), version=row.version)
    outbox.publish(tx, changed)
    tx.outdate(command.id)
    return Customer.of_row(row)


async def get_customer(tx: Transaction, customer_id: UUID) -> Customer:
    """The customer with this id.

    Raises:
        NotFound: there is none.
    """
    row = await tx.row(select(tables.customers).where(tables.customers.c.id == customer_id))
    if row is None:
        raise NotFound("customer", customer_id)
    return Customer.of_row(row)


async def list_customers(
    tx: Transaction, page: Page, *, email: str | None, query: str
) -> tuple[list[Customer], str]:
    """A page of customers, oldest first, and the token of the next page.

    Raises:
        InvalidRequest: the query has no word or too many, or filter, order or token are wrong.
    """
    statement = select(tables.customers)
    if email:
        statement = statement.where(tables.customers.c.email == email)
    if query:
        statement = statement.where(await _SEARCH.condition(tx, query))
    rows, token = await _LIST.read(tx, statement, page)
    return [Customer.of_row(row) for row in rows], token


async def find_customers(tx: Transaction, customer_ids: Collection[UUID]) -> dict[UUID, Customer]:
    """Those of the customers that exist, by id."""
    wanted = bindparam("ids", sorted(set(customer_ids)), ARRAY(tables.customers.c.id.type))
    rows = await tx.rows(select(tables.customers).where(tables.customers.c.id == any_(wanted)))
    return {row.id: Customer.of_row(row) for row in rows}


def _demand_name(name: str) -> None:
    if not name.strip():
        raise InvalidRequest.of("/name", "must not be blank")


def _demand_currency(code: str) -> None:
    try:
        money.decimals_of(code)
    except KeyError:
        raise InvalidRequest.of("/currency_code", "is not a currency of ISO 4217") from None
