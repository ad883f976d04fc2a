"""Every order that a list offers is one in which an index has its rows."""

import pkgutil
from collections.abc import Iterator
from datetime import date, datetime
from decimal import Decimal
from importlib import import_module
from typing import Any
from uuid import UUID

import psycopg
import pytest
from google.protobuf.descriptor_pool import Default
from sqlalchemy import Select, select
from sqlalchemy.dialects import postgresql

from common import audit_log, ids
from common.jobs import batches, failures, records
from common.listing import Listing, declared
from common.pagination import Page
from common.testing import TestServers
from gateway.contract import SERVICES, all_services
from gateway.routes import Routes

# Lists that no table is behind.
COMPUTED = {"erp.accounting.v1.ListPeriodsRequest"}
# A company has few of them, or, of deliveries, reads those of one webhook.
FEW = {
    *(
        f"erp.gateway.v1.List{records}Request"
        for records in ("Users", "Tenants", "Webhooks", "WebhookDeliveries")
    ),
    "erp.inventory.v1.ListProductImportsRequest",
    "erp.sales.v1.ListCustomerImportsRequest",
}
# What is answered whole, and short.
WHOLE = {
    "ListPermissions": "they are those of the contract, for everybody the same",
    "ListQueues": "a service has three",
    "ListSessions": "a person has as many as devices, and reads them to end those they do not know",
}
POOL: Any = Default()
DIALECT: Any = postgresql.dialect()  # type: ignore[no-untyped-call]
# What the gateway puts together, of lists that each service has of its own.
GATHERED: dict[str, list[tuple[Listing, Select[Any]]]] = {
    "erp.gateway.v1.ListAuditEntriesRequest": [(audit_log.LISTED, audit_log.ENTRIES)],
    "erp.gateway.v1.ListJobsRequest": [(part.listing, part.select) for part in records.parts],
    **{
        f"erp.gateway.v1.List{name}Request": [(listing, select(listing.table))]
        for name, listing in (("FailedJobs", failures.LISTED), ("Batches", batches.LISTED))
    },
}
# What changes with every reservation, and with every step of an order: an index of it would cost
# each of them more (no HOT update) than it saves the few who look at it in this order.
SORTED = {
    "erp.inventory.v1.ListStockLevelsRequest": {"on_hand", "reserved", "available"},
    "erp.sales.v1.ListOrdersRequest": {"update_time"},
}
FIRST = {str: "", int: "0", Decimal: "0", date: "2026-01-31", datetime: "2026-01-31T00:00:00+00:00"}
# Nothing but an index scan is left, unless there is none that fits.
PLAIN = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off"
LED = """
    SELECT a.attname::text FROM pg_index AS i
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[1]
    WHERE i.indrelid = %s::regclass
"""
UNIQUE = """
    SELECT array_agg(a.attname::text) FROM pg_index AS i
    JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey::int2[])
    WHERE i.indisunique AND i.indpred IS NULL AND i.indrelid = %s::regclass
    GROUP BY i.indexrelid
"""


def listings() -> Iterator[tuple[str, Listing]]:
    for service in SERVICES:
        package = import_module(service)
        for module in pkgutil.iter_modules(package.__path__):
            if module.name in ("tests", "migrations", "__main__"):
                continue
            for value in vars(import_module(f"{service}.{module.name}")).values():
                if isinstance(value, Listing):
                    yield service, value


LISTINGS = {listing.request: (service, listing) for service, listing in listings()}
OFFERED = [
    (request, order, direction)
    for request, (_, listing) in LISTINGS.items()
    for order in ("", *listing.orders)
    if order not in SORTED.get(request, ())
    for direction in ("asc", "desc")
]


@pytest.fixture(scope="module")
def applications(servers: TestServers) -> Iterator[dict[str, psycopg.Connection[Any]]]:
    """Each service's database, with the rights of the service."""
    opened = {name: psycopg.connect(servers.database(name).app) for name in SERVICES}
    for connection in opened.values():
        connection.execute("SELECT set_config('erp.tenant_id', %s, false)", [str(ids.new())])
        connection.execute(PLAIN)
    yield opened
    for connection in opened.values():
        connection.close()


def test_every_declared_list_is_looked_at() -> None:
    lists = {
        route.method.input_type.full_name
        for route in Routes(all_services()).all
        if declared(route.method.input_type).order_by
    }

    assert lists - COMPUTED - set(GATHERED) == set(LISTINGS)


@pytest.mark.parametrize("request_name", GATHERED)
def test_a_list_of_all_services_offers_what_each_of_them_has(request_name: str) -> None:
    offered = declared(POOL.FindMessageTypeByName(request_name))

    for listing, _ in GATHERED[request_name]:
        assert declared(POOL.FindMessageTypeByName(listing.request)) == offered


@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("request_name", GATHERED)
def test_an_index_has_the_rows_of_each_service_in_that_order(
    applications: dict[str, psycopg.Connection[Any]], request_name: str, direction: str
) -> None:
    sorts = [
        sort
        for listing, statement in GATHERED[request_name]
        for after in (None, (str(ids.new()),))
        for order in listing.orders
        for page in [Page(50, after, order_by=f"{order} {direction}")]
        for sort in sorts_of(applications["sales"], listing, page, statement)
    ]

    assert sorts == []


def test_every_list_can_be_filtered_and_ordered_or_there_is_a_reason() -> None:
    lists = {
        route.method.name: route.method.input_type
        for route in Routes(all_services()).all
        if route.method.name.startswith("List")
    }

    lacking = {
        name
        for name, request in lists.items()
        for option in ("filter", "order_by")
        if option not in request.fields_by_name or not getattr(declared(request), option)
    }

    # Events come in the order of their sequence, by which they are read on.
    assert lacking == {*WHOLE, "ListEvents"}
    assert declared(lists["ListEvents"]).filter


@pytest.mark.parametrize(("request_name", "order", "direction"), OFFERED)
def test_an_index_has_the_rows_in_every_order_that_is_offered(
    applications: dict[str, psycopg.Connection[Any]], request_name: str, order: str, direction: str
) -> None:
    service, listing = LISTINGS[request_name]
    order_by = f"{order} {direction}" if order else ""
    kinds = [column.type.python_type for column in listing.sorted_by(order_by)]
    after = tuple(str(ids.new()) if kind is UUID else FIRST[kind] for kind in kinds)

    sorts = [
        sort
        for page in (Page(50, None, order_by=order_by), Page(50, after, order_by=order_by))
        for sort in sorts_of(applications[service], listing, page)
    ]

    assert sorts == []


ABOUT = [
    (request, name)
    for request, (_, listing) in LISTINGS.items()
    for name in listing.fields
    if name in ("customer_id", "order_id", "product_id", "state") and request not in FEW
]


@pytest.mark.parametrize(("request_name", "name"), ABOUT)
def test_an_index_has_the_rows_about_one_customer_order_or_product_or_in_a_state(
    applications: dict[str, psycopg.Connection[Any]], request_name: str, name: str
) -> None:
    service, listing = LISTINGS[request_name]

    led = applications[service].execute(LED, [listing.table.name]).fetchall()

    column: Any = listing.fields[name].column
    assert (column.name,) in led


def sorts_of(
    connection: psycopg.Connection[Any],
    listing: Listing,
    page: Page,
    statement: Select[Any] | None = None,
) -> list[dict[str, Any]]:
    """Where a page's rows are sorted, but for rows that a unique index has brought alone."""
    listed = listing.limited(select(listing.table) if statement is None else statement, page)
    sql = listed.compile(dialect=DIALECT, compile_kwargs={"literal_binds": True})
    unique = [
        set(names) - {"tenant_id"} for (names,) in connection.execute(UNIQUE, [listing.table.name])
    ]
    # Where few rows are, a shorter index and a sort are as cheap as the one that needs none.
    return min((sorts_in(plan, unique) for plan in plans_of(connection, str(sql))), key=len)


def plans_of(connection: psycopg.Connection[Any], sql: str) -> Iterator[dict[str, Any]]:
    for may_sort in ("on", "off"):
        connection.execute(f"SET enable_incremental_sort = {may_sort}".encode())
        explained = connection.execute(f"EXPLAIN (FORMAT JSON) {sql}".encode()).fetchone()
        assert explained is not None
        yield explained[0][0]["Plan"]


def sorts_in(plan: dict[str, Any], unique: list[set[str]]) -> list[dict[str, Any]]:
    steps = steps_of(plan)
    return [
        step
        for step in steps
        if step["Node Type"] == "Sort"
        or (
            step["Node Type"] == "Incremental Sort"
            and {key.rpartition(".")[2] for key in step["Presorted Key"]} not in unique
        )
        or step["Node Type"] == "Seq Scan"
    ]


def steps_of(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", ()):
        yield from steps_of(below)
