"""Load of the warehouse: goods come in, and somebody looks at what is there."""

import random

from locust import task
from tenants import TenantUser


class Storekeeper(TenantUser):
    """Receives goods."""

    weight = 1

    @task(2)
    def receive_goods(self) -> None:
        """A delivery of up to ten products."""
        goods = sorted({self.product() for _ in range(random.randint(1, 10))})
        cost = {"currency_code": "EUR", "amount": "70.00"}
        lines = [{"product_id": one, "quantity": "20", "unit_cost": cost} for one in goods]
        self.post("/stock/receipts", {"warehouse_id": self.tenant["warehouse"], "lines": lines})

    @task(3)
    def look_at_the_shelves(self) -> None:
        """A page of levels and of movements."""
        self.get("/stock/levels", warehouse_id=self.tenant["warehouse"], page_size=50)
        self.get("/stock/movements", product_id=self.product(), page_size=20)
