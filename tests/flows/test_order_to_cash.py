"""One order from the customer to the ledger, over real processes."""

from typing import Any

from shop import Shop, eur, eventually


async def test_an_order_goes_from_the_customer_to_the_ledger(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=100)

    draft = await acme.post("/orders", acme.order_body(customer, warehouse, (product, 3)))
    order = await acme.post(f"/orders/{draft['id']}:confirm", {"version": draft["version"]}, 20)

    assert (draft["state"], draft["number"], draft["version"]) == ("draft", "", 1)
    assert (draft["reservation_state"], draft["invoice_state"]) == ("none", "none")
    assert amounts(draft) == ("360.00", "68.40", "428.40")
    assert (order["state"], order["reservation_state"]) == ("confirmed", "reserved")
    assert order["invoice_state"] == "posted"
    assert await acme.level(warehouse, product) == ("100", "3", "97")

    reservation = (await acme.get("/reservations", order_id=order["id"]))["reservations"]
    invoice = (await acme.get("/invoices", order_id=order["id"]))["invoices"]
    assert [(found["state"], found["lines"][0]["quantity"]) for found in reservation] == [
        ("held", "3")
    ]
    assert [(found["id"], found["state"]) for found in invoice] == [(order["invoice_id"], "posted")]
    assert amounts(invoice[0]) == ("360.00", "68.40", "428.40")
    entry = await acme.get(f"/journal-entries/{invoice[0]['journal_entry_id']}")
    assert sides(entry) == {"1200": (42840, 0), "4000": (0, 36000), "2200": (0, 6840)}

    shipped = await acme.post(f"/orders/{order['id']}:ship", {}, 20)
    assert shipped["shipment_state"] == "shipped"
    assert await acme.level(warehouse, product) == ("97", "0", "97")

    allocation = {"invoice_id": order["invoice_id"], "amount": eur("428.40")}
    payment = {
        "customer_id": customer,
        "amount": eur("428.40"),
        "method": "bank_transfer",
        "allocations": [allocation],
    }
    await acme.post("/payments", payment)
    assert (await acme.get(f"/invoices/{order['invoice_id']}"))["amount_due"]["amount"] == "0.00"
    await assert_books_balance(acme)
    assert await acme.violations() == []


async def test_an_order_may_be_created_and_confirmed_in_one_call(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=5)

    answer = await acme.try_post(
        "/orders", {**acme.order_body(customer, warehouse, (product, 5)), "confirm": True}, 20
    )

    order = answer.json()
    assert answer.status_code == 201
    assert (order["state"], order["reservation_state"], order["invoice_state"]) == (
        "confirmed",
        "reserved",
        "posted",
    )
    assert await acme.level(warehouse, product) == ("5", "5", "0")


async def test_a_cancelled_order_leaves_no_trace_in_stock_and_books(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=5)
    order = await acme.confirmed(acme.order_body(customer, warehouse, (product, 2)))

    cancelled = await acme.post(f"/orders/{order['id']}:cancel", {"reason": "changed mind"}, 20)

    assert cancelled["state"] == "cancelled"
    assert (cancelled["reservation_state"], cancelled["invoice_state"]) == ("released", "credited")
    assert await acme.level(warehouse, product) == ("5", "0", "5")
    invoice = await acme.get(f"/invoices/{order['invoice_id']}")
    assert (invoice["state"], invoice["amount_due"]["amount"]) == ("credited", "0.00")
    await assert_books_balance(acme)


async def test_missing_goods_are_backordered_and_taken_by_arrival(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=5)
    body = acme.order_body(customer, warehouse, (product, 8))

    first = await acme.confirmed(body)
    second = await acme.confirmed(body)

    assert [order["reservation_state"] for order in (first, second)] == ["backordered"] * 2
    assert first["lines"][0]["shortage"] == "3"
    assert await acme.level(warehouse, product) == ("5", "0", "5")

    await acme.receive(warehouse, product, 3)

    async def reserved() -> bool:
        order = await acme.get(f"/orders/{first['id']}")
        return bool(order["reservation_state"] == "reserved")

    await eventually(reserved, "the first order has its goods")
    assert (await acme.get(f"/orders/{second['id']}"))["reservation_state"] == "backordered"
    assert await acme.level(warehouse, product) == ("8", "8", "0")


async def test_an_order_that_forbids_backorders_is_refused_and_changes_nothing(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=5)
    body = {**acme.order_body(customer, warehouse, (product, 8)), "backorder": "forbid"}
    draft = await acme.post("/orders", body)

    answer = await acme.try_post(f"/orders/{draft['id']}:confirm", {"version": 1})

    problem = answer.json()
    assert answer.status_code == 409
    assert (problem["reason"], problem["requested"], problem["available"]) == (
        "INSUFFICIENT_STOCK",
        "8",
        "5",
    )
    assert (await acme.get(f"/orders/{draft['id']}"))["state"] == "draft"
    assert await acme.level(warehouse, product) == ("5", "0", "5")


async def test_an_order_ships_in_parts_and_never_more_than_ordered(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=5)
    order = await acme.confirmed(acme.order_body(customer, warehouse, (product, 5)))
    line = order["lines"][0]["id"]

    part = await acme.post(f"/orders/{order['id']}:ship", ship(line, 2), 20)
    too_much = await acme.try_post(f"/orders/{order['id']}:ship", ship(line, 4))
    rest = await acme.post(f"/orders/{order['id']}:ship", {}, 20)
    late = await acme.try_post(f"/orders/{order['id']}:cancel", {"reason": "late"})

    assert part["shipment_state"] == "partial"
    assert too_much.status_code == 409
    assert rest["shipment_state"] == "shipped"
    assert late.status_code == 409
    assert await acme.level(warehouse, product) == ("0", "0", "0")


async def test_many_orders_are_created_in_one_call_each_with_its_own_outcome(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=100)
    good = {**acme.order_body(customer, warehouse, (product, 1)), "confirm": True}
    absent = "01890000-0000-7000-8000-000000000000"
    bad = {**good, "lines": [{"product_id": absent, "quantity": "1"}]}

    results = (await acme.post("/orders:batchCreate", {"orders": [good, bad, good]}))["results"]
    refused = await acme.try_post("/orders:batchCreate", {"orders": [good, bad], "atomic": True})

    assert [next(iter(result)) for result in results] == ["order", "error", "order"]
    assert results[1]["error"]["status"] == 404
    assert refused.status_code == 404
    for result in (results[0], results[2]):
        await acme.settled(result["order"]["id"])
    assert await acme.level(warehouse, product) == ("100", "2", "98")


def ship(line: str, quantity: int) -> dict[str, Any]:
    return {"lines": [{"order_line_id": line, "quantity": str(quantity)}]}


def amounts(document: dict[str, Any]) -> tuple[str, str, str]:
    return tuple(document[name]["amount"] for name in ("net", "tax", "gross"))  # type: ignore[return-value]


def sides(entry: dict[str, Any]) -> dict[str, tuple[int, int]]:
    return {
        line["account_code"]: (cents(line, "debit"), cents(line, "credit"))
        for line in entry["lines"]
    }


def cents(line: dict[str, Any], side: str) -> int:
    return int(line[side]["amount"].replace(".", "")) if line.get(side) else 0


async def assert_books_balance(shop: Shop) -> None:
    balance = await shop.get("/reports/trial-balance")

    assert balance["total_debit"] == balance["total_credit"]
