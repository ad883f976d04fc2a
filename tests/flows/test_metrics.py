"""What the running system tells Prometheus, and whether it is true."""

import asyncio
import re
import shutil
import subprocess
from collections import defaultdict

import httpx
import psycopg
import pytest
from scraping import figure, scrape, total
from shop import Shop, back, eventually

from gateway.contract import all_services
from gateway.routes import Routes
from ops.background import BackgroundStack
from ops.metrics_reference import definitions

# The client library's own; what it says of each process is conventional.
FROM_THE_CLIENT = ("process_", "python_")
# Each route and rpc has a histogram, in the gateway and where it is served.
MOST_SERIES_OF_A_ROUTE = 80


# Counted from the records themselves; the figures are read from sums that are kept beside them.
ORDERS = "SELECT count(*) FROM orders WHERE number IS NOT NULL"
REVENUE = """
    SELECT sum(line.credit_minor) / 100.0 FROM journal_lines AS line
    JOIN accounts AS account ON account.id = line.account_id AND account.kind = 'revenue'
    WHERE line.currency = 'EUR'
"""


def ask(stack: BackgroundStack, service: str, question: str) -> float:
    with psycopg.connect(stack.state["databases"][service]) as connection:
        row = connection.execute(question).fetchone()
    assert row
    return float(row[0])


async def test_the_business_is_told_as_the_records_have_it(
    stack: BackgroundStack, acme: Shop, globex: Shop
) -> None:
    for shop in (acme, globex):
        customer, warehouse = await shop.customer(), await shop.warehouse()
        product = await shop.product(warehouse, stock=10)
        await shop.confirmed(shop.order_body(customer, warehouse, (product, 3)))
    orders, revenue = ask(stack, "sales", ORDERS), ask(stack, "accounting", REVENUE)

    async def told() -> bool:
        now = await scrape(stack)
        return figure(now, "kv_erp_orders_confirmed_total") == orders and round(
            figure(now, "kv_erp_revenue_total", currency="EUR"), 2
        ) == round(revenue, 2)

    assert orders >= 2
    await eventually(told, f"{orders} orders and {revenue} EUR")


async def test_a_request_shows_in_the_numbers_once(stack: BackgroundStack, acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=10)
    before = await scrape(stack)

    await acme.confirmed(acme.order_body(customer, warehouse, (product, 3)))

    after = await scrape(stack)
    tenant = stack.state["tenants"]["acme"]["id"]
    for name, labels in (
        ("kv_erp_http_requests_total", {"method": "POST", "route": "/api/v1/orders"}),
        ("kv_erp_tenant_requests_total", {"tenant": tenant, "outcome": "ok"}),
    ):
        assert total(after, name, **labels) == total(before, name, **labels) + 1
    for service in ("accounting", "inventory"):
        labels = {"service": service, "lane": "high", "source": "sales"}
        assert total(after, "kv_erp_events_applied_total", **labels) > (
            total(before, "kv_erp_events_applied_total", **labels)
        )


async def test_what_was_counted_survives_a_worker(stack: BackgroundStack, acme: Shop) -> None:
    before = figure(await scrape(stack), "kv_erp_orders_confirmed_total")
    gone = stack.pids("sales-worker")

    stack.kill("sales-worker")

    await back(stack, "sales-worker", gone)

    async def said() -> bool:
        return figure(await scrape(stack), "kv_erp_orders_confirmed_total") >= max(before, 1)

    await eventually(said, "the new worker knows of the orders before its time")


async def test_every_process_tells_of_itself(stack: BackgroundStack, acme: Shop) -> None:
    samples = await scrape(stack)

    names = defaultdict(set)
    for sample in samples:
        names[sample.process].add(sample.name)
    assert {"gateway", "inventory", "accounting", "sales"} <= set(names)
    assert {"inventory-worker", "accounting-worker", "sales-worker", "gateway-worker"} <= set(names)
    for process, said in names.items():
        assert {
            "process_resident_memory_bytes",
            "process_cpu_seconds_total",
            "kv_erp_process_info",
            "kv_erp_event_loop_lag_seconds_bucket",
        } <= said, process


async def test_only_documented_metrics_and_labels_are_told(
    stack: BackgroundStack, acme: Shop
) -> None:
    known = {one.name: {*one.labels} for one in definitions()}

    for sample in await scrape(stack):
        if sample.name.startswith(FROM_THE_CLIENT):
            continue
        name = re.sub(r"_(bucket|sum|count)$", "", sample.name)
        name = name if name in known else sample.name
        assert set(sample.labels) - {"le"} <= known[name], sample


async def test_strangers_cannot_blow_up_the_metrics(stack: BackgroundStack, acme: Shop) -> None:
    await acme.client.get("/products")
    series = len(await scrape(stack))

    for number in range(200):
        await acme.client.get(f"/nothing/{number}")
        await acme.client.request(f"VERB{number % 20}", f"/orders/{number}")

    assert len(await scrape(stack)) < series + 50
    assert series < MOST_SERIES_OF_A_ROUTE * len(Routes(all_services()).all)


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool (Debian: prometheus) is not installed"
)
async def test_prometheus_finds_nothing_to_blame(stack: BackgroundStack, acme: Shop) -> None:
    async with httpx.AsyncClient(verify=False, trust_env=False) as client:
        for url in stack.state["metrics"].values():
            page = (await client.get(url)).content
            checked = await asyncio.to_thread(promtool, page)
            assert (checked.returncode, checked.stderr) == (0, b""), url


def promtool(page: bytes) -> "subprocess.CompletedProcess[bytes]":
    command = ["promtool", "check", "metrics"]
    return subprocess.run(command, input=page, capture_output=True, check=False)
