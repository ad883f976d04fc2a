"""A tenant can never see, change or refer to another's records: tried on every rpc there is."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor
from shop import Shop, client_of, eur

from erp.accounting.v1 import accounting_service_pb2
from erp.gateway.v1 import gateway_service_pb2
from erp.inventory.v1 import inventory_service_pb2
from erp.sales.v1 import sales_service_pb2
from ops.background import BackgroundStack

SERVICES = (
    inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"],
    accounting_service_pb2.DESCRIPTOR.services_by_name["AccountingService"],
    sales_service_pb2.DESCRIPTOR.services_by_name["SalesService"],
    gateway_service_pb2.DESCRIPTOR.services_by_name["GatewayService"],
)
VALUES = {
    "quantity": "1", "name": "Intruder", "reason": "curiosity", "description": "curiosity",
    "code": "INTRUDER", "sku": "INTRUDER", "account_code": "1200", "rate": "0.1", "version": 1,
    "method": "cash", "kind": "asset", "counted": "1",
}  # fmt: skip


@dataclass
class Routed:
    """An rpc and its REST route."""

    method: MethodDescriptor
    verb: str
    path: str

    def __str__(self) -> str:
        return f"{self.verb} {self.path}"


def routes() -> Iterator[Routed]:
    for service in SERVICES:
        for method in service.methods:
            rule = method.GetOptions().Extensions[annotations_pb2.http]
            if verb := rule.WhichOneof("pattern"):
                yield Routed(method, verb.upper(), getattr(rule, verb))


ALL = list(routes())
NAMING_ONE = [route for route in ALL if "{id}" in route.path]


def _fields(message: Descriptor) -> Iterator[FieldDescriptor]:
    for field in message.fields:
        yield field
        if field.message_type is not None and field.message_type.file.package.startswith("erp."):
            yield from _fields(field.message_type)


REFERRING = [
    route
    for route in ALL
    if route.verb == "POST"
    and any(field.name.endswith("_id") for field in _fields(route.method.input_type))
]
LISTS = [route for route in ALL if route.method.name.startswith("List")]


async def records(shop: Shop) -> dict[str, str]:
    """One record of each kind, by the name of the field that refers to it."""
    customer, warehouse = await shop.customer(), await shop.warehouse()
    product = await shop.product(warehouse, stock=10)
    order = await shop.confirmed(shop.order_body(customer, warehouse, (product, 2)))
    invoice = (await shop.get("/invoices", order_id=order["id"]))["invoices"][0]
    reservation = (await shop.get("/reservations", order_id=order["id"]))["reservations"][0]
    payment = {"customer_id": customer, "amount": eur("5.00"), "method": "cash"}
    receipt = await shop.receive(warehouse, product, 1)
    account = (await shop.get("/accounts"))["accounts"][0]
    token = await shop.post("/api-tokens", {"name": "isolation"})
    elsewhere = await shop.warehouse()
    transfer = {
        "source_warehouse_id": warehouse,
        "destination_warehouse_id": elsewhere,
        "lines": [{"product_id": product, "quantity": "1"}],
    }
    count = {"warehouse_id": warehouse, "lines": [{"product_id": product}]}
    credit = {"reason": "isolation", "lines": [{"quantity": "1"}]}
    credit["lines"][0]["order_line_id"] = order["lines"][0]["id"]
    return {
        "customer_id": customer,
        "warehouse_id": warehouse,
        "product_id": product,
        "order_id": order["id"],
        "order_line_id": order["lines"][0]["id"],
        "invoice_id": invoice["id"],
        "reservation_id": reservation["id"],
        "journal_entry_id": invoice["journal_entry_id"],
        "payment_id": (await shop.post("/payments", payment))["id"],
        "stock_receipt_id": receipt["id"],
        "account_id": account["id"],
        "parent_id": account["id"],
        "api_token_id": token["id"],
        "source_warehouse_id": warehouse,
        "destination_warehouse_id": elsewhere,
        "stock_transfer_id": (await shop.post("/stock/transfers", transfer))["id"],
        "stock_count_id": (await shop.post("/stock/counts", count))["id"],
        "credit_note_id": (await shop.post(f"/invoices/{invoice['id']}:credit", credit))["id"],
    }


@pytest.fixture(scope="session")
async def theirs(stack: BackgroundStack) -> dict[str, str]:
    async with client_of(stack, "acme") as client:
        return await records(Shop(client))


def own_id(route: Routed, ids: dict[str, str]) -> str:
    """The id of the record that a path is about; any of theirs where we have made none."""
    return ids.get(f"{snake(route.method.output_type.name)}_id", ids["order_id"])


def snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)[1:]


def body_for(message: Descriptor, ids: dict[str, str]) -> dict[str, Any]:
    """A request that is right in all but whose records it names."""
    return {
        field.name: value
        for field in message.fields
        if field.name not in ("id", "update_mask", "page_token", "page_size")
        and (value := value_for(field, ids)) is not None
    }


def value_for(field: FieldDescriptor, ids: dict[str, str]) -> Any:
    if field.message_type is not None:
        if field.message_type.name == "Money":
            return None if field.name == "credit" else eur("1.00")
        if not field.message_type.file.package.startswith("erp."):
            return None
        inner = body_for(field.message_type, ids)
        return [inner] if field.is_repeated else inner
    return ids.get(field.name, VALUES.get(field.name))


@pytest.mark.parametrize("route", NAMING_ONE, ids=str)
async def test_an_id_of_another_tenant_does_not_exist(
    route: Routed, globex: Shop, theirs: dict[str, str]
) -> None:
    path = route.path.replace("/api/v1", "").replace("{id}", own_id(route, theirs))
    body = body_for(route.method.input_type, theirs) if route.verb in ("POST", "PATCH") else None

    answer = await globex.client.request(route.verb, path, json=body)

    assert answer.status_code == 404, answer.text
    assert_nothing_of(theirs, answer, named=own_id(route, theirs))


@pytest.mark.parametrize("route", REFERRING, ids=str)
async def test_a_record_of_another_tenant_cannot_be_referred_to(
    route: Routed, globex: Shop, theirs: dict[str, str]
) -> None:
    path = route.path.replace("/api/v1", "").replace("{id}", own_id(route, theirs))

    answer = await globex.client.post(path, json=body_for(route.method.input_type, theirs))

    if "batch" in route.path:
        assert [result["error"]["status"] for result in answer.json()["results"]] == [404]
    else:
        assert answer.status_code == 404, answer.text


@pytest.mark.parametrize("route", LISTS, ids=str)
async def test_a_list_shows_nothing_of_another_tenant(
    route: Routed, globex: Shop, theirs: dict[str, str]
) -> None:
    filters = {
        field.name: theirs[field.name]
        for field in route.method.input_type.fields
        if field.name in theirs
    }
    path = route.path.replace("/api/v1", "")

    everything = await globex.client.get(path, params={"page_size": 200})
    theirs_only = await globex.client.get(path, params=filters) if filters else None

    assert everything.status_code == 200
    assert_nothing_of(theirs, everything)
    if theirs_only is not None:
        rows = [value for value in theirs_only.json().values() if isinstance(value, list)]
        assert rows == [[]]


async def test_a_page_token_of_another_tenant_opens_nothing(acme: Shop, globex: Shop) -> None:
    for _ in range(2):
        await acme.customer()
    token = (await acme.get("/customers", page_size=1))["next_page_token"]
    seen = {
        customer["id"] for customer in (await acme.get("/customers", page_size=200))["customers"]
    }

    answer = await globex.client.get("/customers", params={"page_token": token, "page_size": 200})

    assert seen.isdisjoint(customer["id"] for customer in answer.json().get("customers", []))


@pytest.mark.parametrize("header", ["x-tenant-id", "X-Tenant-ID", "tenant", "x-user-id"])
async def test_a_header_makes_nobody_another_tenant(
    header: str, acme: Shop, globex: Shop, stack: Any
) -> None:
    customer = await acme.customer()
    acme_id = stack.state["tenants"]["acme"]["id"]

    answer = await globex.client.get(f"/customers/{customer}", headers={header: acme_id})

    assert answer.status_code == 404


@pytest.mark.parametrize("route", ALL, ids=str)
@pytest.mark.parametrize("authorization", [None, "Bearer nobody", "Basic YTpi", "Bearer"])
async def test_nobody_gets_in_without_a_credential(
    route: Routed, authorization: str | None, acme: Shop
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    path = route.path.replace("{id}", "01890000-0000-7000-8000-000000000000")

    async with httpx.AsyncClient(
        base_url=acme.client.base_url.join("/"), trust_env=False
    ) as nobody:
        answer = await nobody.request(route.verb, path, headers=headers, content=b"{}")

    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


def assert_nothing_of(theirs: dict[str, str], answer: httpx.Response, named: str = "") -> None:
    text = json.dumps(answer.json()) if answer.content else ""
    assert not [key for key, value in theirs.items() if value in text and value != named]
