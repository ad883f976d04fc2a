"""`kv-erp demo`: one order from the customer to the ledger, against the running stack."""

import secrets
from collections.abc import Iterable
from decimal import Decimal
from typing import Any, Self

import httpx
from rich.table import Table

from ops.commands.console import failures_as_sentences, out, running_state
from ops.errors import StackFailure

TIMEOUT_SECONDS = 30.0
LIST_PRICE = "120.00"
UNIT_COST = "70.00"


def demo() -> None:
    """Sell three oak tables and follow them into stock, invoice and ledger."""
    with failures_as_sentences():
        state = running_state()
        token = state["tenants"]["acme"]["token"]
        with Gateway(state["gateway"], token) as gateway:
            play(gateway)


class Gateway:
    """The REST API as one tenant; an answer other than 2xx is a StackFailure that shows it."""

    def __init__(self, url: str, token: str) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(
            base_url=f"{url}/api/v1", headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **query: str) -> dict[str, Any]:
        """GET `path` under /api/v1."""
        return self._answer("GET", path, params=query)

    def post(self, path: str, body: dict[str, Any], *, wait_seconds: int = 0) -> dict[str, Any]:
        """POST `body`; with `wait_seconds`, the answer comes when its follow-up events are done."""
        headers = {"Prefer": f"wait={wait_seconds}"} if wait_seconds else {}
        return self._answer("POST", path, json=body, headers=headers)

    def _answer(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        try:
            answer = self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise StackFailure(f"The gateway cannot be reached: {error}.") from error
        if not answer.is_success:
            raise StackFailure(
                f"{method} /api/v1{path} answered {answer.status_code}: {answer.text}"
            )
        return dict(answer.json())


def play(gateway: Gateway) -> None:
    """The main job of the API, step by step."""
    # Skus, codes and addresses are unique in a tenant, and the demo may be played twice.
    run = secrets.token_hex(2).upper()
    customer, product, warehouse = make_master_records(gateway, run)
    receive_stock(gateway, product, warehouse)
    stock = {"product_id": product["id"], "warehouse_id": warehouse["id"]}
    show_stock(gateway, "Stock before the order", stock)
    order = order_and_confirm(gateway, customer, product, warehouse)
    show_reservation(gateway, order)
    invoice = show_invoice(gateway, order)
    show_entry(gateway, invoice["journal_entry_id"])
    show_stock(gateway, "Stock with the order reserved", stock)
    shipped = gateway.post(f"/orders/{order['id']}:ship", {}, wait_seconds=10)
    say("Shipped", f"{order['number']} is {shipped['shipment_state']}")
    show_stock(gateway, "Stock after shipping", stock)
    pay(gateway, customer, invoice)
    show_trial_balance(gateway)


def make_master_records(gateway: Gateway, run: str) -> tuple[dict[str, Any], ...]:
    """A customer, a product and a warehouse."""
    customer = gateway.post(
        "/customers",
        {
            "name": "Blue Door Ltd",
            "email": f"buy-{run.lower()}@bluedoor.example",
            "currency_code": "EUR",
        },
    )
    say("Customer", f"{customer['number']}  {customer['name']}")
    product = gateway.post(
        "/products",
        {"sku": f"OAK-TABLE-{run}", "name": "Oak table", "list_price": euros(LIST_PRICE)},
    )
    say("Product", f"{product['sku']}  {product['name']} at {money(product['list_price'])}")
    warehouse = gateway.post("/warehouses", {"code": f"MAIN-{run}", "name": "Main warehouse"})
    say("Warehouse", f"{warehouse['code']}  {warehouse['name']}")
    return customer, product, warehouse


def receive_stock(gateway: Gateway, product: dict[str, Any], warehouse: dict[str, Any]) -> None:
    """A hundred tables arrive."""
    line = {"product_id": product["id"], "quantity": "100", "unit_cost": euros(UNIT_COST)}
    receipt = gateway.post("/stock/receipts", {"warehouse_id": warehouse["id"], "lines": [line]})
    say("Received", f"{receipt['number']}  100 of {product['sku']} for {UNIT_COST} EUR each")


def order_and_confirm(
    gateway: Gateway, customer: dict[str, Any], product: dict[str, Any], warehouse: dict[str, Any]
) -> dict[str, Any]:
    """Order three tables; confirming waits until stock and accounting have followed."""
    lines = [{"product_id": product["id"], "quantity": "3"}]
    draft = gateway.post(
        "/orders", {"customer_id": customer["id"], "warehouse_id": warehouse["id"], "lines": lines}
    )
    totals = f"{money(draft['net'])} + {money(draft['tax'])} tax = {money(draft['gross'])}"
    say("Order drafted", f"3 of {product['sku']}: {totals}")
    order = gateway.post(
        f"/orders/{draft['id']}:confirm", {"version": draft["version"]}, wait_seconds=10
    )
    say(
        "Order confirmed",
        f"{order['number']}  {order['state']}, stock {order['reservation_state']},"
        f" invoice {order['invoice_state']}",
    )
    return order


def show_reservation(gateway: Gateway, order: dict[str, Any]) -> None:
    """What inventory holds for the order."""
    for reservation in gateway.get("/reservations", order_id=order["id"])["reservations"]:
        quantities = ", ".join(line["quantity"] for line in reservation["lines"])
        say("Reservation", f"{reservation['state']}: {quantities} pieces")


def show_invoice(gateway: Gateway, order: dict[str, Any]) -> dict[str, Any]:
    """What accounting raised for the order."""
    invoices = gateway.get("/invoices", order_id=order["id"])["invoices"]
    if not invoices:
        raise StackFailure(f"{order['number']} has no invoice; does the accounting worker run?")
    invoice = dict(invoices[0])
    say("Invoice", f"{invoice['number']}  {invoice['state']}, due {money(invoice['amount_due'])}")
    return invoice


def show_entry(gateway: Gateway, entry_id: str) -> None:
    """The journal entry of an invoice."""
    entry = gateway.get(f"/journal-entries/{entry_id}")
    rows = (
        (line["account_code"], side(line.get("debit")), side(line.get("credit")))
        for line in entry["lines"]
    )
    out.print(ledger(f"Journal entry {entry['number']}", ("Account",), rows))


def show_stock(gateway: Gateway, title: str, stock: dict[str, str]) -> None:
    """The stock level of the demo's product."""
    for level in gateway.get("/stock/levels", **stock)["stock_levels"]:
        say(
            title,
            f"{level['on_hand']} on hand, {level['reserved']} reserved,"
            f" {level['available']} available",
        )


def pay(gateway: Gateway, customer: dict[str, Any], invoice: dict[str, Any]) -> None:
    """The customer pays the invoice in full."""
    due = invoice["amount_due"]
    payment = {
        "customer_id": customer["id"],
        "amount": due,
        "method": "bank_transfer",
        "allocations": [{"invoice_id": invoice["id"], "amount": due}],
    }
    gateway.post("/payments", payment, wait_seconds=10)
    left = gateway.get(f"/invoices/{invoice['id']}")["amount_due"]
    say("Paid", f"{money(due)} by bank transfer; {money(left)} of {invoice['number']} left")


def show_trial_balance(gateway: Gateway) -> None:
    """Every account's balance; both columns must add up to the same."""
    balance = gateway.get("/reports/trial-balance")
    rows = (
        (row["account_code"], row["account_name"], side(row["debit"]), side(row["credit"]))
        for row in balance["rows"]
    )
    table = ledger("Trial balance", ("Account", "Name"), rows)
    table.add_section()
    table.add_row("", "Total", money(balance["total_debit"]), money(balance["total_credit"]))
    out.print(table)
    if balance["total_debit"] != balance["total_credit"]:
        raise StackFailure("The trial balance does not balance.")


def ledger(title: str, columns: Iterable[str], rows: Iterable[tuple[str, ...]]) -> Table:
    """A table with debit and credit on the right."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column)
    table.add_column("Debit", justify="right")
    table.add_column("Credit", justify="right")
    for row in rows:
        table.add_row(*row)
    return table


def say(step: str, outcome: str) -> None:
    """One step and what came of it."""
    out.print(f"[bold]{step:<30}[/] {outcome}", highlight=False, soft_wrap=True)


def euros(amount: str) -> dict[str, str]:
    """Money as the API wants it."""
    return {"currency_code": "EUR", "amount": amount}


def money(value: dict[str, str] | None) -> str:
    """Money as a person reads it, nothing where there is none."""
    return f"{value['amount']} {value['currency_code']}" if value else ""


def side(value: dict[str, str] | None) -> str:
    """Money in a debit or credit column, where zero is left blank."""
    return money(value) if value and Decimal(value["amount"]) else ""
