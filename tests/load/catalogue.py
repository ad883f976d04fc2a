"""Load of those who look: products and customers, in lists and one by one."""

from locust import task
from tenants import TenantUser


class Browser(TenantUser):
    """Looks for goods and customers."""

    weight = 4

    @task(3)
    def page_through_products(self) -> None:
        """Two pages of the list."""
        page = self.get("/products", page_size=50)
        if page and page.get("next_page_token"):
            self.get("/products", page_size=50, page_token=page["next_page_token"])

    @task(5)
    def look_at_a_product(self) -> None:
        """One product, and its stock."""
        product = self.product()
        self.get("/products/{id}", f"/products/{product}")
        self.get("/stock/levels", product_id=product)

    @task(2)
    def look_for_a_customer(self) -> None:
        """A page of customers, and one of them."""
        self.get("/customers", page_size=20)
        self.get("/customers/{id}", f"/customers/{self.customer()}")
