"""Who puts load on the system: users of the tenants that `kv-erp seed` has filled."""

import json
import os
import random
import uuid
from pathlib import Path
from typing import Any

from locust import HttpUser, between
from locust.clients import ResponseContextManager

# What a person does between two clicks; a test that has little time lets them hurry.
THINK_SECONDS = float(os.environ.get("LOAD_THINK_SECONDS", "2"))
DATA = json.loads(Path(os.environ.get("LOAD_DATA", ".dev/load.json")).read_text())


class TenantUser(HttpUser):
    """Somebody at work in one of the seeded tenants."""

    abstract = True
    host = DATA["gateway"]
    wait_time = between(THINK_SECONDS / 2, THINK_SECONDS * 1.5)

    def on_start(self) -> None:
        """Come from any tenant."""
        self.tenant: dict[str, Any] = random.choice(DATA["tenants"])
        self.client.trust_env = False
        self.client.headers["Authorization"] = f"Bearer {self.tenant['token']}"

    def product(self) -> str:
        """Some product; a few of them are wanted far more often than the rest."""
        products = self.tenant["products"]
        return str(products[int(len(products) * random.random() ** 3)])

    def customer(self) -> str:
        """Some customer."""
        return str(random.choice(self.tenant["customers"]))

    def get(self, route: str, path: str = "", **query: object) -> Any:
        """The body of a GET, counted under its route."""
        with self.client.get(
            f"/api/v1{path or route}", name=f"GET {route}", params=query, catch_response=True
        ) as answer:
            return _body(answer)

    def post(self, route: str, body: object, path: str = "", wait_seconds: int = 0) -> Any:
        """The body of a POST with an idempotency key, counted under its route."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        if wait_seconds:
            headers["Prefer"] = f"wait={wait_seconds}"
        with self.client.post(
            f"/api/v1{path or route}",
            name=f"POST {route}",
            json=body,
            headers=headers,
            catch_response=True,
        ) as answer:
            return _body(answer)


def _body(answer: ResponseContextManager) -> Any:
    if answer.status_code in (200, 201, 202):
        answer.success()
        return answer.json()
    answer.failure(f"{answer.status_code}: {answer.text[:200]}")
    return None
