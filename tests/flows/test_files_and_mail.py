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


async def test_a_customer_who_was_read_in_is_written_to_about_the_order(
    stack: BackgroundStack, acme: Shop
) -> None:
    tag = secrets.token_hex(4)
    email = f"{tag}@door.example"
    product_file = f"sku,name,list_price\nT-{tag},Table,120.00\nU-{tag},,1.00\n"

    tables = await acme.post("/imports/products", {"content": product_file})
    people = {"format": "ndjson", "content": f'{{"name": "Door {tag}", "email": "{email}"}}'}
    tables, people = [
        await ended(acme, "/imports/products", tables),
        await ended(acme, "/imports/customers", await acme.post("/imports/customers", people)),
    ]
    (product,) = (await acme.get("/products", sku=f"T-{tag}"))["products"]
    (customer,) = (await acme.get("/customers", email=email))["customers"]
    warehouse = await acme.post("/warehouses", {"code": tag.upper(), "name": "Files"})
    order = await acme.post(
        "/orders",
        {
            "customer_id": customer["id"],
            "warehouse_id": warehouse["id"],
            "lines": [{"product_id": product["id"], "quantity": "1"}],
            "confirm": True,
        },
        wait=10,
    )

    async def both_mails() -> list[StoredMail]:
        stored = mails_in(Path(stack.state["mailbox"]))
        mine = [mail for mail in stored if mail.message["To"] == email]
        return mine if len(mine) > 1 else []

    mails = await eventually(both_mails, "both mails arrived")

    assert (tables["created_rows"], tables["failed_rows"]) == (1, 1)
    (error,) = tables["errors"]
    assert (error["row"], error["pointer"], error["reason"]) == (3, "/name", "INVALID_REQUEST")
    assert people["created_rows"] == 1
    (invoice,) = (await acme.get("/invoices", order_id=order["id"]))["invoices"]
    assert sorted(str(mail.message["Subject"]) for mail in mails) == [
        f"Invoice {invoice['number']} for your order {order['number']}",
        f"Your order {order['number']} at {mails[0].message['From'].addresses[0].display_name}",
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
