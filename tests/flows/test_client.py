"""The Python client against the running system."""

import secrets

import pytest
from fault_proxy import FaultProxy

from client import Client, Options, Problem, Unreachable


@pytest.fixture
async def erp(stack):
    """The client, as acme."""
    async with Client(stack.state["gateway"], stack.state["tenants"]["acme"]["token"]) as client:
        yield client


@pytest.fixture
async def shaky(stack):
    """The client behind a network that can fail, and that network."""
    port = int(stack.state["gateway"].rpartition(":")[2])
    token = stack.state["tenants"]["acme"]["token"]
    async with (
        FaultProxy(port) as proxy,
        Client(f"http://127.0.0.1:{proxy.port}", token) as client,
    ):
        yield client, proxy


def eur(amount):
    return {"currency_code": "EUR", "amount": amount}


def sku():
    return f"P-{secrets.token_hex(4)}"


async def test_one_order_from_the_customer_to_the_ledger(erp):
    customer = await erp.create_customer(name="Blue Door Ltd", currency_code="EUR")
    warehouse = await erp.create_warehouse(code=f"W-{secrets.token_hex(4)}", name="Main")
    product = await erp.create_product(sku=sku(), name="Oak table", list_price=eur("120.00"))
    line = {"product_id": product["id"], "quantity": "10", "unit_cost": eur("70.00")}
    await erp.receive_stock(warehouse_id=warehouse["id"], lines=[line])

    order = await erp.create_order(
        Options(wait_seconds=20),
        customer_id=customer["id"],
        warehouse_id=warehouse["id"],
        lines=[{"product_id": product["id"], "quantity": "3"}],
        confirm=True,
    )
    entry = await erp.get_journal_entry(
        (await erp.get_invoice(order["invoice_id"]))["journal_entry_id"]
    )

    assert (order["state"], order["reservation_state"]) == ("confirmed", "reserved")
    assert {line["account_code"] for line in entry["lines"]} == {"1200", "2200", "4000"}


async def test_a_list_is_read_to_its_end(erp):
    made = [
        (await erp.create_product(sku=sku(), name="Shelf", list_price=eur("1.00")))["id"]
        for _ in range(5)
    ]

    found = [product["id"] async for product in erp.iterate_products(page_size=2)]

    assert set(made) <= set(found)
    assert len(found) == len(set(found))


async def test_a_refusal_carries_its_reason_and_its_values(erp):
    with pytest.raises(Problem) as caught:
        await erp.create_product(sku="", name="Nothing", list_price=eur("1.005"))

    assert (caught.value.status, caught.value.request_id != "") == (400, True)
    assert "/sku" in str(caught.value)


async def test_a_command_whose_answer_was_lost_has_effect_once(shaky):
    erp, proxy = shaky
    name = f"Once {secrets.token_hex(4)}"
    proxy.cut_reply(b"POST /api/v1/customers")

    made = await erp.create_customer(name=name, currency_code="EUR")

    named = [one["id"] async for one in erp.iterate_customers() if one["name"] == name]
    assert named == [made["id"]]


async def test_a_gateway_that_is_away_is_named_after_some_attempts(shaky):
    erp, proxy = shaky
    await proxy.refuse()

    with pytest.raises(Unreachable, match="GET /api/v1/products"):
        await erp.list_products()


async def test_an_id_cannot_lead_to_another_route(erp):
    with pytest.raises(Problem) as caught:
        await erp.get_product("../customers?x=")

    assert caught.value.status == 404
