"""`kv-erp demo`: one order from the customer to the ledger, against the running stack."""

import asyncio
import secrets
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from rich.table import Table

from client import Client, Options, Problem, Unreachable
from erp.client import types
from ops.commands.console import (
    AsJson,
    failures_as_sentences,
    out,
    print_json,
    running_state,
)
from ops.errors import StackFailure

LIST_PRICE = "120.00"
UNIT_COST = "70.00"
SETTLED = Options(wait_seconds=10)


def demo(as_json: AsJson = False) -> None:
    """Sell three oak tables and follow them into stock, invoice and ledger.

    With --json the records that were made, as the API gives them.
    """
    with failures_as_sentences():
        state = running_state()
        out.quiet = as_json
        try:
            made = asyncio.run(_play(state["gateway"], state["tenants"]["acme"]["token"]))
        finally:
            out.quiet = False
    if as_json:
        print_json(made)


async def _play(url: str, token: str) -> dict[str, Any]:
    try:
        async with Client(url, token) as erp:
            return await play(erp)
    except (Problem, Unreachable) as error:
        raise StackFailure(f"The gateway did not do it: {error}") from error


async def play(erp: Client) -> dict[str, Any]:
    """The main job of the API, step by step; the records that it made."""
    # Skus, codes and addresses are unique in a tenant, and the demo may be played twice.
    run = secrets.token_hex(2).upper()
    customer, product, warehouse = await make_master_records(erp, run)
    receipt = await receive_stock(erp, product, warehouse)
    await show_stock(erp, "Stock before the order", product, warehouse)
    order = await order_and_confirm(erp, customer, product, warehouse)
    reservations = await show_reservation(erp, order)
    invoice = await show_invoice(erp, order)
    entry = await show_entry(erp, invoice)
    await show_stock(erp, "Stock with the order reserved", product, warehouse)
    shipped = await erp.ship_order(order["id"], SETTLED)
    say("Shipped", f"{order['number']} is {shipped['shipment_state']}")
    await show_stock(erp, "Stock after shipping", product, warehouse)
    payment = await pay(erp, customer, invoice)
    balance = await show_trial_balance(erp)
    return {
        "customer": customer,
        "product": product,
        "warehouse": warehouse,
        "receipt": receipt,
        "order": await erp.get_order(order["id"]),
        "reservations": reservations,
        "invoice": await erp.get_invoice(invoice["id"]),
        "journal_entry": entry,
        "payment": payment,
        "trial_balance": balance,
    }


async def make_master_records(
    erp: Client, run: str
) -> tuple[types.Customer, types.Product, types.Warehouse]:
    """A customer, a product and a warehouse."""
    customer = await erp.create_customer(
        name="Blue Door Ltd", email=f"buy-{run.lower()}@bluedoor.example", currency_code="EUR"
    )
    say("Customer", f"{customer['number']}  {customer['name']}")
    product = await erp.create_product(
        sku=f"OAK-TABLE-{run}", name="Oak table", list_price=euros(LIST_PRICE)
    )
    say("Product", f"{product['sku']}  {product['name']} at {money(product.get('list_price'))}")
    warehouse = await erp.create_warehouse(code=f"MAIN-{run}", name="Main warehouse")
    say("Warehouse", f"{warehouse['code']}  {warehouse['name']}")
    return customer, product, warehouse


async def receive_stock(
    erp: Client, product: types.Product, warehouse: types.Warehouse
) -> types.StockReceipt:
    """A hundred tables arrive."""
    line: types.ReceiptLine = {
        "product_id": product["id"],
        "quantity": "100",
        "unit_cost": euros(UNIT_COST),
    }
    receipt = await erp.receive_stock(warehouse_id=warehouse["id"], lines=[line])
    say("Received", f"{receipt['number']}  100 of {product['sku']} for {UNIT_COST} EUR each")
    return receipt


async def order_and_confirm(
    erp: Client, customer: types.Customer, product: types.Product, warehouse: types.Warehouse
) -> types.Order:
    """Order three tables; confirming waits until stock and accounting have followed."""
    draft = await erp.create_order(
        customer_id=customer["id"],
        warehouse_id=warehouse["id"],
        lines=[{"product_id": product["id"], "quantity": "3"}],
    )
    totals = (
        f"{money(draft.get('net'))} + {money(draft.get('tax'))} tax = {money(draft.get('gross'))}"
    )
    say("Order drafted", f"3 of {product['sku']}: {totals}")
    order = await erp.confirm_order(draft["id"], SETTLED, version=draft["version"])
    say(
        "Order confirmed",
        f"{order['number']}  {order['state']}, stock {order['reservation_state']},"
        f" invoice {order['invoice_state']}",
    )
    return order


async def show_reservation(erp: Client, order: types.Order) -> list[types.Reservation]:
    """What inventory holds for the order."""
    reservations = (await erp.list_reservations(order_id=order["id"]))["reservations"]
    for reservation in reservations:
        quantities = ", ".join(line["quantity"] for line in reservation["lines"])
        say("Reservation", f"{reservation['state']}: {quantities} pieces")
    return reservations


async def show_invoice(erp: Client, order: types.Order) -> types.Invoice:
    """What accounting raised for the order."""
    invoices = (await erp.list_invoices(order_id=order["id"]))["invoices"]
    if not invoices:
        raise StackFailure(f"{order['number']} has no invoice; does the accounting worker run?")
    invoice = invoices[0]
    due = money(invoice.get("amount_due"))
    say("Invoice", f"{invoice['number']}  {invoice['state']}, due {due}")
    return invoice


async def show_entry(erp: Client, invoice: types.Invoice) -> types.JournalEntry:
    """The journal entry of an invoice."""
    entry = await erp.get_journal_entry(invoice["journal_entry_id"])
    rows = (
        (line["account_code"], side(line.get("debit")), side(line.get("credit")))
        for line in entry["lines"]
    )
    out.print(ledger(f"Journal entry {entry['number']}", ("Account",), rows))
    return entry


async def show_stock(
    erp: Client, title: str, product: types.Product, warehouse: types.Warehouse
) -> None:
    """The stock level of the demo's product."""
    levels = await erp.list_stock_levels(product_id=product["id"], warehouse_id=warehouse["id"])
    for level in levels["stock_levels"]:
        say(
            title,
            f"{level['on_hand']} on hand, {level['reserved']} reserved,"
            f" {level['available']} available",
        )


async def pay(erp: Client, customer: types.Customer, invoice: types.Invoice) -> types.Payment:
    """The customer pays the invoice in full."""
    due = invoice["amount_due"]
    payment = await erp.create_payment(
        SETTLED,
        customer_id=customer["id"],
        amount=due,
        method="bank_transfer",
        allocations=[{"invoice_id": invoice["id"], "amount": due}],
    )
    left = (await erp.get_invoice(invoice["id"]))["amount_due"]
    say("Paid", f"{money(due)} by bank transfer; {money(left)} of {invoice['number']} left")
    return payment


async def show_trial_balance(erp: Client) -> types.TrialBalance:
    """Every account's balance; both columns must add up to the same."""
    balance = await erp.get_trial_balance()
    rows = (
        (row["account_code"], row["account_name"], side(row.get("debit")), side(row.get("credit")))
        for row in balance["rows"]
    )
    table = ledger("Trial balance", ("Account", "Name"), rows)
    table.add_section()
    debit, credit = balance.get("total_debit"), balance.get("total_credit")
    table.add_row("", "Total", money(debit), money(credit))
    out.print(table)
    if debit != credit:
        raise StackFailure("The trial balance does not balance.")
    return balance


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


def euros(amount: str) -> types.Money:
    """Money as the API wants it."""
    return {"currency_code": "EUR", "amount": amount}


def money(value: types.Money | None) -> str:
    """Money as a person reads it, nothing where there is none."""
    return f"{value['amount']} {value['currency_code']}" if value else ""


def side(value: types.Money | None) -> str:
    """Money in a debit or credit column, where zero is left blank."""
    return money(value) if value and Decimal(value["amount"]) else ""
