"""What the running system writes: a line for all that happens, for whom, and no secret."""

import json
import re
from collections.abc import Iterator
from typing import Any

from shop import Shop, eventually

from ops.background import BackgroundStack

# Lines of work, and in which fields they name the requests and traces.
WORK = {
    "rpc": ("request_id", "trace_id"),
    "events applied": ("request_ids", "trace_ids"),
    "job ended": ("request_id", "trace_id"),
}
# What is kept beside the secrets is ids and addresses.
SECRET = re.compile(r"(?![0-9a-f]{8}-)[^@\s]{16,}")


def text_of(stack: BackgroundStack) -> dict[str, str]:
    return {
        path.name: path.read_text(errors="replace")
        for path in (stack.directory / "log").glob("*.log*")
    }


def lines_of(stack: BackgroundStack, process: str) -> Iterator[dict[str, Any]]:
    # What follows the last line break is still being written.
    *lines, _ = text_of(stack).get(f"{process}.log", "").split("\n")
    yield from (json.loads(line) for line in lines if line.startswith("{"))


def fits(line: dict[str, Any], **wanted: Any) -> bool:
    """Whether a line has these fields with these values."""
    return all(line.get(name) == value for name, value in wanted.items())


async def ordered(acme: Shop, request_id: str) -> None:
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=10)
    body = acme.order_body(customer, warehouse, (product, 1)) | {"confirm": True}
    headers = {"x-request-id": request_id, "prefer": "wait=20"}
    answer = await acme.client.post("/orders", json=body, headers=headers)
    assert answer.status_code == 201


async def told_of(stack: BackgroundStack, process: str, **wanted: Any) -> dict[str, Any]:
    """The line of a process that has these fields with these values, once it is written."""

    async def found() -> dict[str, Any] | None:
        return next((line for line in lines_of(stack, process) if fits(line, **wanted)), None)

    line: dict[str, Any] = await eventually(found, f"{process} tells of {wanted}")
    return line


async def test_every_line_of_an_order_knows_whose_it_is(stack: BackgroundStack, acme: Shop) -> None:
    await ordered(acme, "canary-request-1")

    request = await told_of(stack, "gateway", request_id="canary-request-1", event="request")
    call = await told_of(stack, "sales", request_id="canary-request-1", event="rpc")
    assert (request["status"], call["status"]) == (201, "OK")
    assert request["trace_id"] == call["trace_id"]
    for line in (request, call):
        assert line["tenant"] == stack.state["tenants"]["acme"]["id"]
        assert line["subject"].startswith("token:")
        assert line["duration_ms"] > 0


async def test_what_an_order_causes_is_told_of_under_its_request_and_trace(
    stack: BackgroundStack, acme: Shop
) -> None:
    await ordered(acme, "canary-request-2")
    request = await told_of(stack, "gateway", request_id="canary-request-2", event="request")
    trace = request["trace_id"]

    async def applied() -> bool:
        return all(
            any(
                "canary-request-2" in line.get("request_ids", ()) and trace in line["trace_ids"]
                for line in lines_of(stack, process)
            )
            for process in ("inventory-worker", "accounting-worker", "sales-worker")
        )

    await eventually(applied, "each worker tells of the order's events")
    mail = {"event": "job ended", "request_id": "canary-request-2", "trace_id": trace}
    ended = await told_of(stack, "sales-worker", **mail, outcome="succeeded")
    assert ended["tenant"] == request["tenant"]


async def test_a_line_of_work_always_says_for_whom_it_was_done(
    stack: BackgroundStack, acme: Shop
) -> None:
    services = ("inventory", "accounting", "sales")
    processes = [name for one in services for name in (one, f"{one}-worker")]
    # What other tests did before, some of it with forged identities, is not looked at.
    before = {process: len(list(lines_of(stack, process))) for process in processes}
    customer, warehouse = await acme.customer(), await acme.warehouse()
    product = await acme.product(warehouse, stock=10)
    await acme.confirmed(acme.order_body(customer, warehouse, (product, 1)))

    checked = set()
    for process in processes:
        for line in list(lines_of(stack, process))[before[process] :]:
            if line["event"] in WORK:
                # Services ask each other about all tenants, too.
                alone = line["event"] == "rpc" and line["subject"].startswith("service:")
                told = [line.get(name) for name in WORK[line["event"]]]
                assert all((line["tenant"] or alone, *told)), line
                checked.add(line["event"])
    assert checked >= {"rpc", "events applied"}


async def test_every_request_leaves_a_line_also_one_that_is_refused(
    stack: BackgroundStack, acme: Shop
) -> None:
    for number, path in enumerate(("/products", "/nothing", "/orders?page_size=-1")):
        await acme.client.get(path, headers={"x-request-id": f"access-{number}"})

    async def told() -> dict[str, int] | None:
        found = {
            line["request_id"]: line["status"]
            for line in lines_of(stack, "gateway")
            if line["event"] == "request" and line["request_id"].startswith("access-")
        }
        return found if len(found) == 3 else None

    found = await eventually(told, "three lines")
    assert found == {"access-0": 200, "access-1": 404, "access-2": 400}


async def test_no_secret_is_ever_written(stack: BackgroundStack, acme: Shop) -> None:
    canaries = {
        "token": "kv_" + "Canary" * 7 + "C",
        "bearer": "canary-bearer-5f1c0a77",
        "cookie": "canary-cookie-93d1be04",
        "password": "canary-password-e07a41d9",
    }
    for token in (canaries["token"], canaries["bearer"]):
        refused = await acme.client.get("/orders", headers={"authorization": f"Bearer {token}"})
        assert refused.status_code == 401
    await acme.client.get("/orders", headers={"cookie": f"__Host-session={canaries['cookie']}"})
    login = {"email": "admin@acme.example", "password": canaries["password"], "tenant": "acme"}
    await acme.client.post("/auth/login", json=login)
    await acme.client.post("/customers", json=login)

    secrets = list(canaries.values())
    for tenant in stack.state["tenants"].values():
        secrets += [tenant["token"], tenant["admin_password"]]
    secrets += [
        url.partition("://")[2].partition("@")[0].partition(":")[2]
        for url in stack.state["databases"].values()
    ]
    kept = (stack.directory / "secrets.json").read_text()
    secrets += [value for value in strings_in(json.loads(kept)) if SECRET.fullmatch(value)]

    written = text_of(stack)
    assert len(written) > 8
    for name, text in written.items():
        assert [secret for secret in secrets if secret and secret in text] == [], name


async def test_nobody_can_forge_a_line(stack: BackgroundStack, acme: Shop) -> None:
    forged = '{"event":"forged-line"}'
    name = f"Evil\r\n{forged}\u001b[2J\u009b31m\u2028{forged}"
    customer = {"name": name, "email": "evil@example.com", "currency_code": "EUR"}

    await acme.client.post("/customers", json=customer)
    await acme.client.get(f"/orders/%0d%0a{forged}%1b[2J")
    await acme.client.get("/orders", headers={"x-request-id": "evil\t" + forged})

    for name, text in text_of(stack).items():
        if name.startswith(("postgres", "redis")):
            continue
        assert not any(line.startswith(forged) for line in text.splitlines()), name
        assert "\u001b" not in text, name
        assert "\u009b" not in text, name


def strings_in(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings_in(inner)
    elif isinstance(value, str):
        yield value
