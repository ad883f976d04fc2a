"""Who changed what, as a company's auditor asks for it over REST."""

from typing import Any

import psycopg
import pytest
from shop import Shop, client_of

from ops.background import BackgroundStack


async def entries_of(shop: Shop, **query: Any) -> list[Any]:
    found: list[Any] = []
    token = ""
    while True:
        page = await shop.get("/audit-log", page_size=200, page_token=token, **query)
        found += page["audit_entries"]
        token = page["next_page_token"]
        if not token:
            return found


def changes_of(entry: Any) -> dict[str, tuple[Any, Any]]:
    return {one["field"]: (one.get("before"), one.get("after")) for one in entry["changes"]}


async def test_an_order_can_be_followed_through_all_services(acme: Shop) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=5)
    headers = {"User-Agent": "audit-test/1", "X-Request-Id": "the-order-itself"}
    body = acme.order_body(customer, warehouse, (product, 2))
    draft = (await acme.client.post("/orders", json=body, headers=headers)).json()
    headers = {"Prefer": "wait=20", "X-Request-Id": "its-confirmation"}
    path = f"/orders/{draft['id']}:confirm"
    order = (await acme.client.post(path, json={"version": 1}, headers=headers)).json()

    entries = await entries_of(acme, record_id=order["id"])
    invoice = await entries_of(acme, record_id=order["invoice_id"])
    tenant_token = (await acme.get("/api-tokens"))["api_tokens"]

    created = [entry for entry in entries if entry["action"] == "created"]
    assert {entry["kind"] for entry in created} == {"order", "order line"}
    (author,) = created[0]["authors"]
    assert author["actor"].startswith("token:")
    assert author["actor"].removeprefix("token:") in {token["id"] for token in tenant_token}
    assert author["rpc"] == "erp.sales.v1.SalesService/CreateOrder"
    assert (author["address"], author["agent"]) == ("127.0.0.1", "audit-test/1")
    assert author["request_id"] == "the-order-itself"
    confirmed = [entry for entry in entries if "state" in changes_of(entry)]
    states = [changes_of(entry)["state"] for entry in confirmed]
    assert ("draft", "confirmed") in states
    assert {(entry["service"], entry["kind"], entry["action"]) for entry in invoice} >= {
        ("accounting", "invoice", "created")
    }
    assert {author["actor"] for entry in invoice for author in entry["authors"]} == {
        "service:accounting"
    }
    assert "its-confirmation" in {
        author["request_id"] for entry in invoice for author in entry["authors"]
    }
    assert [entry["id"] for entry in entries] == sorted(
        (entry["id"] for entry in entries), reverse=True
    )


async def test_pages_are_cut_from_all_services_together(acme: Shop) -> None:
    await acme.product(await acme.warehouse(), stock=1)
    await acme.customer()
    whole = (await acme.get("/audit-log", page_size=40))["audit_entries"]

    first = await acme.get("/audit-log", page_size=7)
    second = await acme.get("/audit-log", page_size=7, page_token=first["next_page_token"])

    ids = [entry["id"] for entry in (*first["audit_entries"], *second["audit_entries"])]
    assert ids == [entry["id"] for entry in whole[:14]]
    assert {entry["service"] for entry in whole} >= {"inventory", "sales"}


async def test_entries_are_found_by_actor_kind_and_time(acme: Shop) -> None:
    made = await acme.post("/api-tokens", {"name": "auditor", "permissions": ["sales.*"]})
    own = {"Authorization": f"Bearer {made['token']}"}
    body = {"name": "Blue Door Ltd", "currency_code": "EUR"}
    customer = (await acme.client.post("/customers", json=body, headers=own)).json()

    by_actor = await entries_of(acme, actor=f"token:{made['id']}")
    tokens = await entries_of(acme, kind="API token", record_id=made["id"])
    early = await entries_of(acme, record_id=customer["id"], end_time=customer["create_time"])
    late = await entries_of(acme, record_id=customer["id"], start_time="2020-01-01T00:00:00Z")

    assert [entry["record_id"] for entry in by_actor] == [customer["id"]]
    assert "hash" not in changes_of(tokens[0])
    assert made["token"] not in str(tokens)
    assert early == []
    assert [entry["action"] for entry in late] == ["created"]


async def test_another_company_and_the_unprivileged_see_nothing(
    stack: BackgroundStack, acme: Shop, globex: Shop
) -> None:
    customer = await acme.customer()
    made = await acme.post("/api-tokens", {"name": "sales", "permissions": ["sales.*"]})

    theirs = await entries_of(globex, record_id=customer)
    async with client_of(stack, "acme") as client:
        client.headers["Authorization"] = f"Bearer {made['token']}"
        refused = await client.get("/audit-log")

    assert theirs == []
    assert refused.status_code == 403


@pytest.mark.parametrize(
    "query", [{"page_token": "nonsense"}, {"page_token": "bm9uc2Vuc2U"}, {"page_size": "201"}]
)
async def test_a_page_that_cannot_be_is_refused(acme: Shop, query: dict[str, str]) -> None:
    assert (await acme.client.get("/audit-log", params=query)).status_code == 400


async def test_the_log_can_be_verified_and_tampering_is_a_violation(
    stack: BackgroundStack, acme: Shop, globex: Shop
) -> None:
    customer = await globex.customer()
    url, tenant = stack.state["databases"]["sales"], stack.state["tenants"]["globex"]["id"]
    before = await globex.post("/audit-log:verify", {})
    with psycopg.connect(url, autocommit=True) as operator:
        # Sealed as if a worker had done it, on a hash that stands for nothing.
        operator.execute(
            "INSERT INTO audit_seals (tenant_id, number, from_id, until_id, entries, digest, hash)"
            " SELECT %s, coalesce(max(number), 0) + 1, uuidv7(), uuidv7(), 1, 'x', 'x'"
            " FROM audit_seals WHERE tenant_id = %s",
            [tenant, tenant],
        )
        forged = await globex.post("/audit-log:verify", {})
        violations = await globex.violations()
        operator.execute("DELETE FROM audit_seals WHERE tenant_id = %s AND hash = 'x'", [tenant])

    assert customer
    assert before["broken"] == []
    assert {seal["service"] for seal in before["seals"]} == {
        "inventory",
        "accounting",
        "sales",
        "gateway",
    }
    assert {broken["service"] for broken in forged["broken"]} == {"sales"}
    assert ("audit_log_untouched", "sales") in {
        (found["rule"], found["service"]) for found in violations
    }
    assert await globex.violations() == []
