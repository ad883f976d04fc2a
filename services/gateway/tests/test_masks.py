"""Partial answers: what `?fields=` keeps, and what it does to ETags."""

import pytest

from common.errors import ConcurrentModification
from erp.sales.v1 import sales_pb2
from erp.sales.v1.sales_service_pb2 import ListOrdersResponse
from erp.types.v1.money_pb2 import Money

ID = "01890000-0000-7000-8000-00000000000a"
CUSTOMER, ORDERS = f"/api/v1/customers/{ID}", "/api/v1/orders"
LINES = [sales_pb2.OrderLine(id=ID, quantity="3", gross=Money(currency_code="EUR", amount="3.57"))]
ORDER = sales_pb2.Order(id=ID, state=sales_pb2.ORDER_STATE_DRAFT, version=7, lines=LINES)


@pytest.fixture(autouse=True)
def answers(sales) -> None:
    customer = sales_pb2.Customer(id=ID, name="Blue Door", version=1)
    sales.answers["GetCustomer"] = lambda _: customer
    sales.answers["GetOrder"] = lambda _: ORDER
    sales.answers["ListOrders"] = lambda _: ListOrdersResponse(
        orders=[ORDER], next_page_token="more"
    )


@pytest.mark.parametrize(
    ("fields", "kept"),
    [
        ("id", {"id": ID}),
        ("state, id", {"id": ID, "state": "draft"}),
        (
            "lines.quantity,lines.gross.amount",
            {"lines": [{"quantity": "3", "gross": {"amount": "3.57"}}]},
        ),
        ("lines.quantity,id,id", {"id": ID, "lines": [{"quantity": "3"}]}),
        # Not there yet.
        ("confirm_time", {"confirm_time": None}),
    ],
)
async def test_only_what_is_asked_for_is_answered(client, fields, kept):
    read = await client.get(f"{ORDERS}/{ID}", params={"fields": fields})
    listed = await client.get(ORDERS, params={"fields": fields, "page_size": "1"})

    assert read.json() == kept
    assert listed.json() == {"orders": [kept], "next_page_token": "more"}


@pytest.mark.parametrize("fields", ["lines", "lines,lines.quantity", "lines.quantity,lines"])
async def test_a_field_that_is_asked_for_is_whole(client, fields):
    whole = (await client.get(f"{ORDERS}/{ID}")).json()

    answer = await client.get(f"{ORDERS}/{ID}", params={"fields": fields})

    assert answer.json() == {"lines": whole["lines"]}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("password", "'password'"),
        ("id,", "''"),
        ("lines.id.x", "'id'"),
        ("create_time.seconds", "'create_time'"),
        ("x" * 501, "500"),
        ("orders", "'orders'"),
    ],
)
async def test_a_field_that_is_not_known_is_named(client, sales, fields, said):
    for path in (f"{ORDERS}/{ID}", ORDERS):
        answer = await client.get(path, params={"fields": fields})

        assert answer.status_code == 400
        [problem] = answer.json()["errors"]
        assert problem["pointer"] == "/fields"
        assert said in problem["detail"]
    assert sales.asked == []


async def test_events_have_another_form_and_are_answered_whole(client):
    answer = await client.get("/api/v1/events", params={"fields": "id"})

    assert answer.status_code == 400
    [problem] = answer.json()["errors"]
    assert "is not a parameter that is known here" in problem["detail"]


async def test_fields_are_named_once_and_for_reads_only(client):
    repeated = await client.get(f"{ORDERS}?fields=id&fields=state")
    command = await client.post(f"{ORDERS}/{ID}:confirm?fields=id")

    for answer in (repeated, command):
        assert answer.status_code == 400
        assert [problem["pointer"] for problem in answer.json()["errors"]] == ["/fields"]


@pytest.mark.parametrize("path", [f"{ORDERS}/{ID}", CUSTOMER])
async def test_the_etag_of_a_part_is_not_that_of_the_whole(client, path):
    whole = await client.get(path)
    part = await client.get(path, params={"fields": "id"})
    other = await client.get(path, params={"fields": "version"})

    etags = {answer.headers["etag"] for answer in (whole, part, other)}

    assert len(etags) == 3
    for answer, status in ((part, 304), (whole, 200)):
        known = {"if-none-match": answer.headers["etag"]}
        again = await client.get(path, params={"fields": "id"}, headers=known)
        assert again.status_code == status


async def test_a_part_is_enough_for_if_match(client, sales):
    def confirm(request):
        if request.version != ORDER.version:
            raise ConcurrentModification("order", ID)
        return ORDER

    sales.answers["ConfirmOrder"] = confirm
    etag = (await client.get(f"{ORDERS}/{ID}", params={"fields": "id"})).headers["etag"]

    now = await client.post(f"{ORDERS}/{ID}:confirm", headers={"if-match": etag})
    later = await client.post(
        f"{ORDERS}/{ID}:confirm", headers={"if-match": etag.replace('"7-', '"6-')}
    )

    assert (now.status_code, later.status_code) == (200, 412)
