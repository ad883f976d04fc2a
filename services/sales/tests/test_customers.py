"""Who buys."""

import asyncio
from uuid import UUID

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from common import ids
from common.errors import ConcurrentModification, InvalidRequest, NotFound, Unavailable
from common.testing import as_user
from erp.sales.v1 import events_pb2 as events
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1 import sales_service_pb2 as messages
from sales.order_desk import OrderDesk
from sales.servicer import SalesServicer
from sales.tests.selling import Neighbours, Shop, counted_statements


async def update(shop: Shop, customer: pb.Customer, *paths: str, **fields: str) -> pb.Customer:
    request = messages.UpdateCustomerRequest(
        id=customer.id,
        version=fields.pop("version", customer.version),
        update_mask=FieldMask(paths=paths),
        **fields,
    )
    return await shop.rpc("UpdateCustomer", request)


async def test_a_customer_gets_the_next_number_and_the_currency_of_the_books(shop: Shop) -> None:
    customer = await shop.add_customer(name="Blue Door Ltd", email="buy@bluedoor.example")

    assert customer == await shop.rpc("GetCustomer", messages.GetCustomerRequest(id=customer.id))
    assert (customer.number, customer.currency_code, customer.version) == ("C-000002", "EUR", 1)
    assert shop.events(events.CustomerCreated)[-1] == events.CustomerCreated(
        customer_id=customer.id, number="C-000002", name="Blue Door Ltd"
    )


async def test_many_customers_at_once_are_numbered_without_gap_or_twin(shop: Shop) -> None:
    with counted_statements() as statements:
        created = await asyncio.gather(*(shop.add_customer(name=f"N{i}") for i in range(40)))

    numbers = sorted(customer.number for customer in created)
    assert numbers == [f"C-{number:06d}" for number in range(2, 42)]
    # Currency, numbers, customers, events.
    assert len(statements) == 4
    assert await shop.violations() == []


async def test_a_customer_of_an_unheard_of_company_has_to_wait(shop: Shop) -> None:
    stranger = ids.new()
    servicer = SalesServicer(shop.database, OrderDesk(shop.database, Neighbours().services()))

    with as_user(stranger), pytest.raises(Unavailable):
        await servicer.CreateCustomer(messages.CreateCustomerRequest(name="Early"), None)


@pytest.mark.parametrize(
    ("fields", "pointer"), [({"name": "  "}, "/name"), ({"currency_code": "XXX"}, "/currency_code")]
)
async def test_a_customer_has_a_name_and_a_real_currency(
    shop: Shop, fields: dict[str, str], pointer: str
) -> None:
    with pytest.raises(InvalidRequest, match=f"^{pointer} "):
        await shop.add_customer(**fields)


async def test_a_change_touches_only_the_fields_it_names(shop: Shop) -> None:
    customer = await shop.add_customer(name="Old", email="old@door.example")

    changed = await update(shop, customer, "name", name="New", email="ignored@door.example")

    assert (changed.name, changed.email, changed.version) == ("New", "old@door.example", 2)


async def test_without_a_mask_the_fields_that_are_there_change(shop: Shop) -> None:
    customer = await shop.add_customer(name="Old", email="old@door.example")

    changed = await update(shop, customer, email="new@door.example")

    assert (changed.name, changed.email) == ("Old", "new@door.example")


async def test_two_changes_of_one_version_leave_one_winner(shop: Shop) -> None:
    customer = await shop.add_customer()

    outcomes = await asyncio.gather(
        *(update(shop, customer, "name", name=f"N{i}") for i in range(10)), return_exceptions=True
    )

    assert sum(isinstance(outcome, pb.Customer) for outcome in outcomes) == 1
    assert sum(isinstance(outcome, ConcurrentModification) for outcome in outcomes) == 9


@pytest.mark.parametrize(
    ("paths", "pointer"),
    [
        (["number"], "/update_mask"),
        (["email"], "/email"),
        (["name"], "/name"),
        ([], "/update_mask"),
    ],
)
async def test_a_change_must_name_what_can_change_and_to_what(
    shop: Shop, paths: list[str], pointer: str
) -> None:
    customer = await shop.add_customer()

    with pytest.raises(InvalidRequest, match=f"^{pointer} "):
        await update(shop, customer, *paths)


async def test_customers_come_in_pages_oldest_first(shop: Shop) -> None:
    for place in range(5):
        await shop.add_customer(email=f"{place % 2}@door.example")

    seen: list[str] = []
    token = ""
    while token or not seen:
        request = messages.ListCustomersRequest(page_size=4, page_token=token)
        page = await shop.rpc("ListCustomers", request)
        seen += [customer.number for customer in page.customers]
        token = page.next_page_token
    request = messages.ListCustomersRequest(email="1@door.example")
    filtered = await shop.rpc("ListCustomers", request)

    assert seen == [f"C-{number:06d}" for number in range(1, 7)]
    assert len(filtered.customers) == 2


async def test_customers_that_do_not_exist_are_left_out(shop: Shop) -> None:
    wanted = [str(shop.customer), str(ids.new())]

    answer = await shop.rpc(
        "ResolveCustomers", messages.ResolveCustomersRequest(customer_ids=wanted)
    )

    assert [UUID(customer.id) for customer in answer.customers] == [shop.customer]
    with pytest.raises(NotFound):
        await shop.rpc("GetCustomer", messages.GetCustomerRequest(id=wanted[1]))
