"""Jobs as operators see them, over REST and from the command line, through the whole system."""

import json
import os
import secrets
import subprocess
import sys
from typing import Any
from uuid import uuid4

import pytest
from shop import Shop, eventually

from ops.background import BackgroundStack

CONFIRMATION, INVOICE = "erp.sales.v1.ConfirmationMail", "erp.sales.v1.InvoiceMail"


@pytest.fixture
def kv_erp(stack: BackgroundStack) -> Any:
    def run(*words: str) -> str:
        environment = os.environ | {"KV_ERP_DEV_DIR": str(stack.directory)}
        command = [sys.executable, "-m", "ops", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


async def refused_mails(shop: Shop) -> list[dict[str, Any]]:
    """The failures of two mails to an address that the API takes and no mail can have."""
    warehouse = await shop.warehouse()
    product = await shop.product(warehouse, stock=1)
    email = f"two..dots-{secrets.token_hex(4)}@door.example"
    customer = await shop.post("/customers", {"name": "Door", "email": email})
    await shop.confirmed(shop.order_body(customer["id"], warehouse, (product, 1)))

    async def both() -> list[dict[str, Any]]:
        found = (await shop.get("/failed-jobs", service="sales"))["failed_jobs"]
        mine = [failure for failure in found if email in failure["error"]]
        return mine if len(mine) == 2 else []

    return list(await eventually(both, "both mails are parked"))


async def test_what_failed_is_seen_retried_and_discarded(acme: Shop, globex: Shop) -> None:
    one, other = await refused_mails(acme)
    seen = await acme.get(f"/failed-jobs/{one['id']}")
    job = await acme.get(f"/jobs/{one['job_id']}")

    assert seen == one
    assert {one["name"], other["name"]} == {CONFIRMATION, INVOICE}
    assert "cannot be written to" in one["error"]
    assert (job["state"], job["name"], job["service"]) == ("failed", one["name"], "sales")
    assert (await globex.client.get(f"/failed-jobs/{one['id']}")).status_code == 404
    assert (await globex.try_post(f"/failed-jobs/{one['id']}:retry", {})).status_code == 404

    await acme.post(f"/failed-jobs/{one['id']}:retry", {})
    await acme.post(f"/failed-jobs/{other['id']}:discard", {})

    async def parked_anew() -> Any:
        failures = (await acme.get("/failed-jobs", name=one["name"]))["failed_jobs"]
        return [f for f in failures if f["job_id"] == one["job_id"] and f["id"] != one["id"]]

    (again,) = await eventually(parked_anew, "the mail was tried and refused again")
    assert again["attempts"] == one["attempts"] + 1
    for gone in (one, other):
        assert (await acme.try_post(f"/failed-jobs/{gone['id']}:retry", {})).status_code == 404
    assert (await acme.client.get(f"/jobs/{other['job_id']}")).status_code == 404


async def test_jobs_batches_and_queues_are_listed(acme: Shop) -> None:
    await refused_mails(acme)

    failed = (await acme.get("/jobs", state="failed", name=CONFIRMATION))["jobs"]
    queues = (await acme.get("/queues"))["queues"]
    batches = await acme.get("/batches", filter='name = "never made"')

    assert {(job["state"], job["name"]) for job in failed} == {("failed", CONFIRMATION)}
    assert {(queue["service"], queue["queue"]) for queue in queues} >= {
        ("sales", "high"),
        ("sales", "default"),
        ("sales", "low"),
    }
    assert batches["batches"] == []
    assert (await acme.client.get(f"/batches/{uuid4()}")).status_code == 404
    assert (await acme.client.get("/jobs", params={"state": "nonsense"})).status_code == 400
    assert (await acme.client.get("/failed-jobs/nonsense")).status_code == 404


async def test_the_command_line_shows_and_retries_what_failed(kv_erp: Any, acme: Shop) -> None:
    one, other = await refused_mails(acme)

    queues = json.loads(kv_erp("queues", "--json"))
    listed = json.loads(kv_erp("failed-jobs", "list", "--json"))
    retried = kv_erp("failed-jobs", "retry", one["id"])
    discarded = kv_erp("failed-jobs", "discard", other["id"], "--yes")

    assert {queue["queue"] for queue in queues["acme"]} == {"high", "default", "low"}
    assert {one["id"], other["id"]} <= {failure["id"] for failure in listed["acme"]}
    assert "1 to be tried again" in retried
    assert "1 discarded" in discarded
    for gone in (one, other):
        assert (await acme.client.get(f"/failed-jobs/{gone['id']}")).status_code == 404
