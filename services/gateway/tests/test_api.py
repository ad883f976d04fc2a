import asyncio

import orjson
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.rpc.code_pb2 import Code

from common.errors import BrokenRule, InvalidRequest, NotFound, Unauthenticated, Unavailable
from common.status import Status, error_from
from erp.sales.v1 import sales_pb2, sales_service_pb2
from gateway.problems import problem_of

ID = "01890000-0000-7000-8000-000000000001"
OTHER_ID = "01890000-0000-7000-8000-000000000002"
ORDER = {
    "customer_id": ID,
    "warehouse_id": OTHER_ID,
    "lines": [{"product_id": ID, "quantity": "3"}],
}
JSON = {"content-type": "application/json"}


class InsufficientPaper(BrokenRule):
    detail = "Only {available} left."

    def __init__(self, available: int, status: str) -> None:
        self._all = {"available": str(available), "status": status, "title": "x"}

    def values(self) -> dict[str, str]:
        return self._all


def fails_with(error: Exception):
    def answer(_request):
        raise error

    return answer


async def test_a_post_becomes_the_rpc_and_its_answer_201(client, sales):
    sales.answers["CreateOrder"] = lambda request: sales_pb2.Order(
        id=ID, customer_id=request.customer_id, state="ORDER_STATE_DRAFT"
    )

    response = await client.post("/api/v1/orders", json=ORDER)

    assert response.status_code == 201
    assert response.headers["content-type"] == "application/json"
    assert response.json() | {"id": ID, "customer_id": ID, "state": "draft"} == response.json()
    name, request, _ = sales.asked[0]
    assert (name, request.lines[0].quantity) == ("CreateOrder", "3")


async def test_a_custom_verb_takes_an_empty_body_and_answers_200(client, sales):
    sales.answers["ConfirmOrder"] = lambda request: sales_pb2.Order(id=request.id)

    response = await client.post(f"/api/v1/orders/{ID}:confirm")

    assert response.status_code == 200
    assert response.json()["id"] == ID


async def test_a_get_reads_its_parameters_by_type(client, sales):
    sales.answers["ListOrders"] = lambda _: sales_service_pb2.ListOrdersResponse()

    response = await client.get("/api/v1/orders", params={"page_size": "7", "state": "draft"})

    assert response.json() == {"orders": [], "next_page_token": ""}
    request = sales.asked[0][1]
    assert (request.page_size, request.state) == (7, sales_pb2.ORDER_STATE_DRAFT)
    assert not request.HasField("customer_id")


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("page_size=x", ["/page_size"]),
        ("page_size=1&page_size=1", ["/page_size"]),
        ("page_size=99999999999", ["/page_size"]),
        ("nonsense=1&state=DRAFT", ["/nonsense", "/state"]),
        ("reference=%00", ["/reference"]),
        ("reference=%ff", [""]),
        ("&".join(["page_size=1"] * 60), [""]),
    ],
)
async def test_a_wrong_parameter_is_named(client, query, pointers):
    response = await client.get("/api/v1/orders?" + query)

    assert response.status_code == 400
    assert [item["pointer"] for item in response.json()["errors"]] == pointers


async def test_a_command_refuses_parameters_rather_than_pass_over_them(client, sales):
    response = await client.post(f"/api/v1/orders/{ID}:confirm?validate=true")

    assert response.status_code == 400
    assert sales.asked == []


async def test_the_fields_in_a_patch_are_its_mask(client, sales):
    sales.answers["UpdateCustomer"] = lambda request: sales_pb2.Customer(id=request.id)
    body = {"version": 3, "name": "Blue", "email": None}

    response = await client.patch(f"/api/v1/customers/{ID}", json=body)

    assert response.status_code == 200
    assert sales.asked[0][1] == sales_service_pb2.UpdateCustomerRequest(
        id=ID, version=3, name="Blue", update_mask=FieldMask(paths=["name"])
    )


async def test_an_explicit_mask_narrows_a_patch(client, sales):
    sales.answers["UpdateCustomer"] = lambda request: sales_pb2.Customer(id=request.id)
    body = {"version": 3, "name": "Blue", "email": "a@b.example", "update_mask": "email"}

    await client.patch(f"/api/v1/customers/{ID}", json=body)

    assert list(sales.asked[0][1].update_mask.paths) == ["email"]


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"version": 1, "id": OTHER_ID}, "/id"),
        ({"version": 1, "update_mask": "version"}, "/update_mask"),
        ({"version": 1, "update_mask": "nonsense"}, "/update_mask"),
        ({"version": 1, "update_mask": ["name"]}, "/update_mask"),
    ],
)
async def test_a_patch_that_contradicts_itself_is_refused(client, body, pointer):
    response = await client.patch(f"/api/v1/customers/{ID}", json=body)

    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"] == pointer


async def test_what_a_service_finds_wrong_comes_out_as_a_problem(client, sales):
    sales.answers["ConfirmOrder"] = fails_with(InsufficientPaper(2, "no"))

    response = await client.post(f"/api/v1/orders/{ID}:confirm", json={})

    assert response.status_code == 409
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json() == {
        "type": "about:blank",
        "title": "Conflict",
        "status": 409,
        "detail": "Only 2 left.",
        "instance": f"/api/v1/orders/{ID}:confirm",
        "reason": "INSUFFICIENT_PAPER",
        "available": "2",
    }


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [
        (InvalidRequest.of("/lines/0/quantity", "must be there"), 400, "INVALID_REQUEST"),
        (NotFound("order", ID), 404, "NOT_FOUND"),
        (Unauthenticated("?"), 401, "UNAUTHENTICATED"),
        (Unavailable("The database"), 503, "UNAVAILABLE"),
        (ZeroDivisionError("secret"), 500, "INTERNAL"),
    ],
)
async def test_each_kind_of_error_has_its_status(client, sales, error, status, reason):
    sales.answers["GetOrder"] = fails_with(error)

    response = await client.get(f"/api/v1/orders/{ID}")

    assert (response.status_code, response.json()["reason"]) == (status, reason)
    assert "secret" not in response.text
    assert ("retry-after" in response.headers) == (status == 503)
    assert ("www-authenticate" in response.headers) == (status == 401)


def test_what_is_our_own_fault_keeps_its_text_to_itself():
    secret = error_from(Status(code=Code.INTERNAL, message="secret at 10.0.0.1"))

    problem = problem_of(secret, "/here")

    assert (problem["status"], problem["reason"]) == (500, "INTERNAL")
    assert "secret" not in str(problem)


async def test_what_validation_finds_points_into_the_body(client, sales):
    response = await client.post("/api/v1/orders", json={**ORDER, "lines": [{"product_id": "x"}]})

    assert response.status_code == 400
    pointers = {item["pointer"] for item in response.json()["errors"]}
    assert pointers == {"/lines/0/product_id", "/lines/0/quantity"}
    assert sales.asked == []


async def test_a_call_that_takes_too_long_is_504(client, sales):
    never = asyncio.Event()
    sales.answers["GetOrder"] = lambda _: never.wait()

    response = await client.get(f"/api/v1/orders/{ID}")

    assert response.status_code == 504
    never.set()


async def test_without_a_credential_a_route_is_401_and_an_unknown_path_404(client):
    client.headers.pop("authorization")

    known = await client.get(f"/api/v1/orders/{ID}")
    wrong_method = await client.put(f"/api/v1/orders/{ID}")
    unknown = await client.get("/api/v1/nonsense")
    nameless = await client.get("/api/v1/orders/")

    answers = (known, wrong_method, unknown, nameless)
    assert [answer.status_code for answer in answers] == [401, 401, 404, 404]
    assert known.headers["www-authenticate"] == "Bearer"


async def test_a_permission_that_is_missing_is_named(client, sales):
    client.headers["authorization"] = "Bearer sales.orders.read"

    # Wrong as it is, the body is not looked at: the gateway has refused before.
    response = await client.post("/api/v1/orders", json={"nonsense": 1})

    assert response.status_code == 403
    assert response.json()["permission"] == "sales.orders.write"
    assert sales.asked == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/orders/nonsense", 404),
        ("GET", "/api/v1/orders/", 404),
        ("GET", "/api/v1//orders", 404),
        ("GET", f"/api/v1/orders/{ID}/lines", 404),
        ("GET", "/api/v1/", 404),
        ("GET", "/api/v1/orders/%2e%2e", 404),
        ("GET", "/api/v1/orders%2f" + ID, 404),
        ("POST", f"/api/v1/orders/{ID}:nonsense", 404),
        ("DELETE", "/api/v1/orders", 405),
        ("GET", f"/api/v1/orders/{ID}:confirm", 405),
    ],
)
async def test_a_path_leads_somewhere_or_says_that_it_does_not(client, method, path, status):
    response = await client.request(method, path)

    assert response.status_code == status
    if status == 405:
        assert response.headers["allow"] in ("GET, HEAD, OPTIONS, POST", "OPTIONS, POST")


async def test_an_encoded_path_is_the_same_path(client, sales):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)

    response = await client.get("/api/v1/%6frders/" + ID.replace("-", "%2D"))

    assert response.json()["id"] == ID


async def test_head_answers_like_get_without_the_body(client, sales):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)

    response = await client.head(f"/api/v1/orders/{ID}")

    assert (response.status_code, response.content) == (200, b"")
    assert int(response.headers["content-length"]) > 0


async def test_options_says_what_can_be_done_and_does_nothing(client, sales):
    response = await client.options("/api/v1/orders")

    assert (response.status_code, response.headers["allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    assert sales.asked == []


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-1._", True), ("a b", False), ("x" * 129, False), ("ä", False)]
)
async def test_every_answer_has_a_request_id(client, sales, given, kept):
    sales.answers["GetOrder"] = lambda request: sales_pb2.Order(id=request.id)

    response = await client.get(f"/api/v1/orders/{ID}", headers={"x-request-id": given.encode()})

    answered = response.headers["x-request-id"]
    assert (answered == given) is kept
    assert answered
    assert sales.asked[0][2]["x-request-id"] == answered


async def test_only_known_headers_go_further(client, sales):
    sales.answers["CreateOrder"] = lambda _: sales_pb2.Order(id=ID)
    smuggled = {"x-tenant-id": OTHER_ID, "x-permissions": "*", "idempotency-key": "key-1"}

    response = await client.post("/api/v1/orders", json=ORDER, headers=smuggled)

    assert response.status_code == 201
    metadata = sales.asked[0][2]
    assert metadata["x-tenant-id"] != OTHER_ID
    assert metadata["idempotency-key"] == "key-1"
    assert "x-permissions" not in metadata


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json; charset=UTF-8"}, 201),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/json; charset=latin-1"}, 415),
        ({}, 415),
        ({**JSON, "idempotency-key": "a b"}, 400),
        ({**JSON, "prefer": "wait=31"}, 400),
        ({**JSON, "prefer": "wait=soon"}, 400),
        ({**JSON, "prefer": "respond-async"}, 201),
    ],
)
async def test_headers_mean_something_or_are_refused(client, sales, headers, status):
    sales.answers["CreateOrder"] = lambda _: sales_pb2.Order(id=ID)

    response = await client.post("/api/v1/orders", content=orjson.dumps(ORDER), headers=headers)

    assert response.status_code == status


async def test_a_body_that_is_too_large_is_413_declared_or_not(client):
    async def endless():
        for _ in range(80):
            yield b" " * 65536

    declared = await client.post("/api/v1/orders", content=b" " * 4_194_305, headers=JSON)
    chunked = await client.post("/api/v1/orders", content=endless(), headers=JSON)

    assert [declared.status_code, chunked.status_code] == [413, 413]


async def test_requests_at_the_same_time_get_their_own_answers(client, sales):
    async def slowly(request):
        for _ in range(int(request.reference) % 7):
            await asyncio.sleep(0)
        return sales_pb2.Order(id=ID, reference=request.reference)

    sales.answers["CreateOrder"] = slowly
    references = [str(number) for number in range(60)]

    responses = await asyncio.gather(
        *(client.post("/api/v1/orders", json={**ORDER, "reference": text}) for text in references)
    )

    assert [response.json()["reference"] for response in responses] == references
