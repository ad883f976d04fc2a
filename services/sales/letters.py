"""What customers are written: to whom, in whose name, and in which words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from common.database import Transaction
from common.mail import Letters
from common.mailing import Addressed
from common.mails import MailKey
from common.money import Money, format_quantity
from erp.sales.v1.jobs_pb2 import ConfirmationMail, InvoiceMail
from sales import companies
from sales.customers import find_customers
from sales.orders import Order, get_orders

_LETTERS = Letters(Path(__file__).with_name("templates"))


@dataclass(frozen=True)
class Wanted:
    """A letter about an order that somebody wants to be sent."""

    key: MailKey
    order_id: UUID
    # What the letter says beyond the order.
    values: Mapping[str, str] = field(default_factory=dict)

    async def address(self, tx: Transaction) -> Addressed | None:
        """The letter; None when it has become untrue, or there is nobody to write to."""
        (order,) = await get_orders(tx, [self.order_id])
        if not isinstance(order, Order) or order.state == "cancelled":
            return None
        customers = await find_customers(tx, [order.customer_id])
        customer = customers[order.customer_id]
        if not customer.email:
            return None
        company = await companies.get_name(tx)
        values = {"customer": customer.name, "company": company, **_said_of(order), **self.values}
        return Addressed(customer.email, company, _LETTERS.write(self.key.kind, values))


def confirmation_of(message: ConfirmationMail) -> Wanted:
    """The confirmation of an order."""
    order_id = UUID(message.order_id)
    return Wanted(MailKey("confirmation", order_id), order_id)


def invoice_of(message: InvoiceMail) -> Wanted:
    """The invoice of an order."""
    key = MailKey("invoice", UUID(message.invoice_id))
    return Wanted(key, UUID(message.order_id), {"invoice_number": message.number})


def _said_of(order: Order) -> dict[str, Any]:
    def amount(minor: int) -> str:
        return str(Money(order.currency_code, minor).to_wire().amount)

    return {
        "number": order.number or "",
        "reference": order.reference,
        "currency": order.currency_code,
        "net": amount(order.net_minor),
        "tax": amount(order.tax_minor),
        "gross": amount(order.gross_minor),
        "lines": [
            {
                "quantity": format_quantity(line.quantity),
                "name": line.name,
                "sku": line.sku,
                "gross": amount(line.gross_minor),
            }
            for line in order.lines
        ],
    }
