"""Load of those who sell: from the order to the payment."""

import random
from typing import Any

from locust import task
from tenants import TenantUser

WAIT_SECONDS = 10


class Seller(TenantUser):
    """Takes orders, ships them, and takes the money."""

    weight = 3

    @task(6)
    def take_an_order(self) -> None:
        """An order of one to three goods, confirmed and followed until it is settled."""
        self._order()

    @task(2)
    def sell_and_ship_and_be_paid(self) -> None:
        """The whole way of an order."""
        order = self._order()
        if not order or order["reservation_state"] != "reserved":
            return
        path = f"/orders/{order['id']}"
        self.post("/orders/{id}:ship", {}, f"{path}:ship", wait_seconds=WAIT_SECONDS)
        found = self.get("/invoices", order_id=order["id"])
        for invoice in found["invoices"] if found else ():
            self._pay(order["customer_id"], invoice)

    @task(1)
    def change_the_mind(self) -> None:
        """An order that is cancelled again."""
        if order := self._order():
            body = {"version": order["version"], "reason": "ordered twice"}
            self.post("/orders/{id}:cancel", body, f"/orders/{order['id']}:cancel", WAIT_SECONDS)

    @task(3)
    def look_at_orders(self) -> None:
        """The newest orders."""
        self.get("/orders", page_size=20)

    def _order(self) -> Any:
        goods = {self.product() for _ in range(random.randint(1, 3))}
        body = {
            "customer_id": self.customer(),
            "warehouse_id": self.tenant["warehouse"],
            "lines": [{"product_id": one, "quantity": "1"} for one in sorted(goods)],
            "confirm": True,
        }
        created = self.post("/orders", body, wait_seconds=WAIT_SECONDS)
        return created and self.get("/orders/{id}", f"/orders/{created['id']}")

    def _pay(self, customer: str, invoice: dict[str, Any]) -> None:
        due = invoice["amount_due"]
        body = {
            "customer_id": customer,
            "amount": due,
            "method": "bank_transfer",
            "allocations": [{"invoice_id": invoice["id"], "amount": due}],
        }
        self.post("/payments", body)
