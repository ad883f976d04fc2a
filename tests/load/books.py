"""Load of the accountant: invoices, entries and the trial balance."""

from locust import task
from tenants import TenantUser


class Accountant(TenantUser):
    """Reads the books."""

    weight = 1

    @task(3)
    def look_at_invoices(self) -> None:
        """The newest invoices."""
        self.get("/invoices", page_size=20)

    @task(2)
    def look_at_entries(self) -> None:
        """The newest entries, and one of them."""
        page = self.get("/journal-entries", page_size=20)
        if page and page["journal_entries"]:
            entry = page["journal_entries"][0]["id"]
            self.get("/journal-entries/{id}", f"/journal-entries/{entry}")

    @task(1)
    def draw_the_trial_balance(self) -> None:
        """Every account's balance; both sides are the same at any moment."""
        balance = self.get("/reports/trial-balance")
        if balance and balance["total_debit"] != balance["total_credit"]:
            raise AssertionError(f"the books do not balance: {balance}")
