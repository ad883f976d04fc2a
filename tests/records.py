"""One record of each kind of a company, by the name of the field that refers to it."""

import secrets
from typing import Any

from shop import Shop, eur, eventually


async def records(shop: Shop) -> dict[str, str]:
    """Make one of each: `order_id`, `invoice_id` and so on, each about the same goods."""
    customer, warehouse = await shop.customer(), await shop.warehouse()
    product = await shop.product(warehouse, stock=10)
    order = await shop.confirmed(shop.order_body(customer, warehouse, (product, 2)))
    invoice = (await shop.get("/invoices", order_id=order["id"]))["invoices"][0]
    held = {"warehouse_id": warehouse, "lines": [{"product_id": product, "quantity": "1"}]}
    account = (await shop.get("/accounts"))["accounts"][0]
    return {
        "customer_id": customer,
        "warehouse_id": warehouse,
        "product_id": product,
        "order_id": order["id"],
        "order_line_id": order["lines"][0]["id"],
        "invoice_id": invoice["id"],
        "reservation_id": (await shop.post("/reservations", held))["id"],
        "journal_entry_id": invoice["journal_entry_id"],
        "source_id": invoice["id"],
        "record_id": order["id"],
        "account_id": account["id"],
        "parent_id": account["id"],
        **await _of_stock(shop, warehouse, product),
        **await _of_money(shop, customer, order["lines"][0]["id"], invoice["id"]),
        **await _of_people(shop),
        **await _of_bulk(shop),
        **await _of_hooks(shop),
    }


async def _of_stock(shop: Shop, warehouse: str, product: str) -> dict[str, str]:
    elsewhere = await shop.warehouse()
    line = {"product_id": product, "quantity": "1"}
    adjustment = {"warehouse_id": warehouse, "reason": "count", "lines": [line]}
    transfer = {
        "source_warehouse_id": warehouse,
        "destination_warehouse_id": elsewhere,
        "lines": [line],
    }
    count = {"warehouse_id": warehouse, "lines": [{"product_id": product}]}
    return {
        "source_warehouse_id": warehouse,
        "destination_warehouse_id": elsewhere,
        "stock_receipt_id": (await shop.receive(warehouse, product, 1))["id"],
        "stock_adjustment_id": (await shop.post("/stock/adjustments", adjustment))["id"],
        "stock_transfer_id": (await shop.post("/stock/transfers", transfer))["id"],
        "stock_count_id": (await shop.post("/stock/counts", count))["id"],
    }


async def _of_money(shop: Shop, customer: str, order_line: str, invoice: str) -> dict[str, str]:
    payment = {"customer_id": customer, "amount": eur("5.00"), "method": "cash"}
    credit = {"reason": "one of each", "lines": [{"order_line_id": order_line, "quantity": "1"}]}
    return {
        "payment_id": (await shop.post("/payments", payment))["id"],
        "credit_note_id": (await shop.post(f"/invoices/{invoice}:credit", credit))["id"],
    }


async def _of_people(shop: Shop) -> dict[str, str]:
    name = f"one-{secrets.token_hex(4)}"
    role = {"name": name, "permissions": ["sales.orders.read"]}
    role_id = (await shop.post("/roles", role))["id"]
    user = {"email": f"{name}@one.example", "role_ids": [role_id], "password": secrets.token_hex(9)}
    return {
        "role_id": role_id,
        "role_ids": role_id,
        "user_id": (await shop.post("/users", user))["id"],
        "api_token_id": (await shop.post("/api-tokens", {"name": name}))["id"],
    }


async def _of_bulk(shop: Shop) -> dict[str, str]:
    content = {"content": "sku,name\nONE,One\n"}
    made = {
        "product_import_id": await shop.post("/imports/products", content),
        "customer_import_id": await shop.post("/imports/customers", {"content": "name\nOne\n"}),
        "product_export_id": await shop.post("/exports/products", {}),
        "customer_export_id": await shop.post("/exports/customers", {}),
        "tenant_export_id": await shop.post("/tenant-exports", {}),
        "trial_balance_export_id": await shop.post("/exports/trial-balance", {}),
    }
    return {name: record["id"] for name, record in made.items()}


async def _of_hooks(shop: Shop) -> dict[str, str]:
    webhook = (await shop.post("/webhooks", {"url": "https://hooks.example.com/one"}))["id"]
    delivery = (await shop.post(f"/webhooks/{webhook}:test", {}))["id"]

    async def queued() -> Any:
        return (await shop.get("/jobs"))["jobs"]

    job = (await eventually(queued, "a job is shown"))[0]["id"]
    return {
        "webhook_id": webhook,
        "webhook_delivery_id": delivery,
        "job_id": job,
        # Nothing of the API makes one that fails, or many at once: one that runs stands for both.
        "failed_job_id": job,
        "batch_id": job,
    }
