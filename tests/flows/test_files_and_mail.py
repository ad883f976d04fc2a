"""Files and mail, through the whole system."""

import secrets
from pathlib import Path
from typing import Any

from shop import Shop, eventually

from ops.background import BackgroundStack
from ops.mailbox import StoredMail, mails_in


async def ended(shop: Shop, path: str, made: dict[str, Any]) -> dict[str, Any]:
    """A file once a worker has ended it."""

    async def now() -> dict[str, Any] | None:
        found: dict[str, Any] = await shop.get(f"{path}/{made['id']}")
        return found if found["state"] in ("succeeded", "failed") else None

    return dict(await eventually(now, f"{path} ended"))


async def read_in(shop: Shop, kind: str, **fields: str) -> dict[str, Any]:
    path = f"/imports/{kind}"
    return await ended(shop, path, await shop.post(path, fields))


async def order_of(shop: Shop, sku: str, email: str) -> dict[str, Any]:
    """The order of a customer and a product that were read in."""
    (product,) = (await shop.get("/products", sku=sku))["products"]
    (customer,) = (await shop.get("/customers", email=email))["customers"]
    warehouse = await shop.post("/warehouses", {"code": sku.upper(), "name": "Files"})
    order = {
        "customer_id": customer["id"],
        "warehouse_id": warehouse["id"],
        "lines": [{"product_id": product["id"], "quantity": "1"}],
        "confirm": True,
    }
    return dict(await shop.post("/orders", order, wait=10))


async def mails_to(stack: BackgroundStack, email: str, count: int) -> list[StoredMail]:
    async def all_of_them() -> list[StoredMail]:
        stored = mails_in(Path(stack.state["mailbox"]))
        mine = [mail for mail in stored if mail.message["To"] == email]
        return mine if len(mine) >= count else []

    return list(await eventually(all_of_them, f"{count} mails arrived"))


async def test_a_customer_who_was_read_in_is_written_to_about_the_order(
    stack: BackgroundStack, acme: Shop
) -> None:
    tag = secrets.token_hex(4)
    email = f"{tag}@door.example"
    table = f"sku,name,list_price\nT-{tag},Table,120.00\nU-{tag},,1.00\n"
    person = f'{{"name": "Door {tag}", "email": "{email}"}}'

    products = await read_in(acme, "products", content=table)
    people = await read_in(acme, "customers", content=person, format="ndjson")
    order = await order_of(acme, f"T-{tag}", email)
    mails = await mails_to(stack, email, 2)

    assert (products["created_rows"], products["failed_rows"]) == (1, 1)
    (error,) = products["errors"]
    assert (error["row"], error["pointer"], error["reason"]) == (3, "/name", "INVALID_REQUEST")
    assert people["created_rows"] == 1
    (invoice,) = (await acme.get("/invoices", order_id=order["id"]))["invoices"]
    assert sorted(str(mail.message["Subject"]).partition(" at ")[0] for mail in mails) == [
        f"Invoice {invoice['number']} for your order {order['number']}",
        f"Your order {order['number']}",
    ]


async def test_the_trial_balance_and_the_products_are_written_to_files(acme: Shop) -> None:
    for kind, head in (
        ("trial-balance", "account_code,account_name,debit,credit,currency_code\r\n"),
        ("products", "sku,name,description,list_price,currency_code,state\r\n"),
    ):
        made = await acme.post(f"/exports/{kind}", {"format": "csv"})
        done = await ended(acme, f"/exports/{kind}", made)

        assert done["state"] == "succeeded"
        assert done["content"].startswith(head)


async def test_a_file_that_is_none_is_refused_at_once(acme: Shop) -> None:
    answer = await acme.try_post("/imports/products", {"content": "sku;name\nA;B\n"})

    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"pointer": "/content", "detail": "must have commas between its columns"}
    ]
