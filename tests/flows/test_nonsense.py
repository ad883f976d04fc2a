"""Bad input gets an answer that names the field or the rule, and changes nothing."""

import json
from typing import Any

import pytest
from shop import Shop, eur

ABSENT = "01890000-0000-7000-8000-000000000000"
QUANTITIES = ["0", "-1", "1e3", "1e999", "NaN", "Infinity", "", " 1", "1,5", "0.0000001", "9" * 13,
              "१", "0x10", 3, 3.5, None, True, [], {}, "1\u0000", "9" * 400]  # fmt: skip
AMOUNTS = ["-0.01", "1e3", "NaN", "", "12.505", "9" * 14, 12.5, None, [], "1\u0000"]
BODIES = [b"", b"[]", b"1", b'"x"', b"null", b"{", b'{"name"', b"\xff\xfe", b'{"name": "\xff"}',
          b"[" * 10_000 + b"]" * 10_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
          b'{"name": "\\ud800"}', b"{'name': 1}", b'{"name": NaN}']  # fmt: skip
PATHS = ["/customers/x", f"/customers/{ABSENT}", "/customers/%00", "/customers/..%2f..", "/nothing",
         f"/orders/{ABSENT}:explode", "/customers//", "/customers/" + "x" * 2000]  # fmt: skip

QUERIES = ["page_size=x", "page_size=-1", "page_size=9999999999999", "page_token=!!",
           "page_token=AAAA", "color=red", "page_size=1&page_size=2", "state=sold"]  # fmt: skip


def assert_is_problem(answer: Any) -> dict[str, Any]:
    assert 400 <= answer.status_code < 500, f"{answer.status_code} {answer.text}"
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["status"] == answer.status_code
    assert problem["title"]
    assert problem["detail"]
    return dict(problem)


@pytest.mark.parametrize("quantity", QUANTITIES, ids=repr)
async def test_a_wrong_quantity_is_named_by_its_field(acme: Shop, quantity: Any) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product()
    body = acme.order_body(customer, warehouse, (product, 1))
    body["lines"][0]["quantity"] = quantity

    problem = assert_is_problem(await acme.try_post("/orders", body))

    assert problem["status"] == 400
    assert problem["errors"][0]["pointer"].startswith("/lines/0/quantity")


@pytest.mark.parametrize("amount", AMOUNTS, ids=repr)
async def test_a_wrong_amount_is_named_by_its_field(acme: Shop, amount: Any) -> None:
    body = {"sku": "WRONG", "name": "x", "list_price": {"currency_code": "EUR", "amount": amount}}

    problem = assert_is_problem(await acme.try_post("/products", body))

    assert problem["status"] == 400
    assert problem["errors"][0]["pointer"].startswith("/list_price")


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:12]))
async def test_a_body_that_is_no_object_is_refused(acme: Shop, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}

    answer = await acme.client.post("/customers", content=body, headers=headers)

    assert assert_is_problem(answer)["status"] == 400


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:30])
async def test_a_path_that_leads_nowhere_is_not_found(acme: Shop, path: str) -> None:
    assert assert_is_problem(await acme.client.get(path))["status"] in (404, 405, 414)


async def test_unknown_fields_are_named(acme: Shop) -> None:
    problem = assert_is_problem(await acme.try_post("/customers", {"name": "x", "vip": True}))

    assert problem["errors"][0]["pointer"] == "/vip"


async def test_every_wrong_field_is_named_at_once(acme: Shop) -> None:
    problem = assert_is_problem(await acme.try_post("/orders", {"customer_id": 1, "lines": {}}))

    assert {"/customer_id", "/lines"} <= {error["pointer"] for error in problem["errors"]}


@pytest.mark.parametrize("field", ["customer_id", "warehouse_id", "product_id"])
async def test_what_an_order_refers_to_must_exist(acme: Shop, field: str) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    body = acme.order_body(customer, warehouse, (await acme.product(), 1))
    (body["lines"][0] if field == "product_id" else body)[field] = ABSENT

    problem = assert_is_problem(await acme.try_post("/orders", body))

    assert problem["status"] == 404
    assert ABSENT in json.dumps(problem)


async def test_another_currency_than_the_customers_is_refused(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    body = acme.order_body(customer, warehouse, (await acme.product(), 1))
    body["lines"][0]["unit_price"] = {"currency_code": "USD", "amount": "1.00"}

    assert_is_problem(await acme.try_post("/orders", body))


async def test_amounts_too_large_for_the_books_are_refused(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(price="9999999999999.00")
    body = acme.order_body(customer, warehouse, (product, 999_999_999_999))

    assert_is_problem(await acme.try_post("/orders", {**body, "confirm": True}))


async def test_commands_out_of_order_break_a_rule_and_change_nothing(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=3)
    order = await acme.confirmed(acme.order_body(customer, warehouse, (product, 3)))
    path, line = f"/orders/{order['id']}", order["lines"][0]["id"]

    again = await acme.try_post(f"{path}:confirm", {})
    too_much = await acme.try_post(
        f"{path}:ship", {"lines": [{"order_line_id": line, "quantity": "4"}]}
    )
    stale = await acme.try_post(f"{path}:cancel", {"reason": "x", "version": 999})
    await acme.post(f"{path}:ship", {}, 20)
    late = await acme.try_post(f"{path}:cancel", {"reason": "too late"})
    empty = await acme.try_post(f"{path}:ship", {})

    for answer in (again, too_much, stale, late, empty):
        assert assert_is_problem(answer)["status"] == 409
    assert (await acme.get(path))["state"] == "confirmed"
    assert await acme.level(warehouse, product) == ("0", "0", "0")


async def test_paying_more_than_is_due_is_refused(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=1, price="1.00")
    order = await acme.confirmed(acme.order_body(customer, warehouse, (product, 1)))
    allocation = {"invoice_id": order["invoice_id"], "amount": eur("99.00")}
    body = {
        "customer_id": customer,
        "amount": eur("99.00"),
        "method": "cash",
        "allocations": [allocation],
    }

    assert assert_is_problem(await acme.try_post("/payments", body))["status"] == 409
    invoice = await acme.get(f"/invoices/{order['invoice_id']}")
    assert invoice["amount_due"] == invoice["gross"]


@pytest.mark.parametrize("query", QUERIES)
async def test_a_wrong_query_is_refused(acme: Shop, query: str) -> None:
    assert assert_is_problem(await acme.client.get(f"/orders?{query}"))["status"] == 400


async def test_a_body_in_another_format_is_refused(acme: Shop) -> None:
    answer = await acme.client.post(
        "/customers", content=b"name=x", headers={"Content-Type": "text/plain"}
    )

    assert assert_is_problem(answer)["status"] == 415


async def test_a_body_without_end_is_refused(acme: Shop) -> None:
    headers = {"Content-Type": "application/json"}

    answer = await acme.client.post(
        "/customers", content=b'{"name": "' + b"x" * 5_000_000 + b'"}', headers=headers
    )

    assert assert_is_problem(answer)["status"] == 413


async def test_a_method_that_a_path_does_not_have_is_refused(acme: Shop) -> None:
    assert assert_is_problem(await acme.client.put("/customers", json={}))["status"] == 405
