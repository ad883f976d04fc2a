"""A company's own program is told of its events, and can prove that it was us."""

import asyncio
import base64
import hashlib
import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from shop import Shop, back, eventually

from ops.background import BackgroundStack

CREATED = "erp.sales.v1.CustomerCreated"


@dataclass
class Receiver:
    """A program that takes events: it answers what it is told to, and keeps what came."""

    status: int = 200
    url: str = ""
    came: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[1:-2]
        headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in head)}
        body = await reader.readexactly(int(headers["content-length"]))
        self.came.append((headers, body))
        writer.write(f"HTTP/1.1 {self.status} X\r\ncontent-length: 2\r\n\r\nok".encode())
        await writer.drain()
        writer.close()

    def told(self, subject: str) -> list[dict[str, str]]:
        """The headers of what came about one thing."""
        return [head for head, body in self.came if orjson.loads(body)["subject"] == subject]


@asynccontextmanager
async def receiving(status: int = 200) -> AsyncIterator[Receiver]:
    receiver = Receiver(status)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    async with server:
        yield receiver


def is_ours(headers: dict[str, str], body: bytes, secret: str) -> bool:
    """Whether one of the signatures fits, as https://www.standardwebhooks.com has it checked."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join(
        (headers["webhook-id"].encode(), headers["webhook-timestamp"].encode(), body)
    )
    expected = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    return expected in headers["webhook-signature"].split(" ")


async def webhook(shop: Shop, url: str, *types: str) -> Any:
    return await shop.post("/webhooks", {"url": url, "types": list(types)})


async def deliveries_of(shop: Shop, made: Any) -> list[Any]:
    page = await shop.get(f"/webhooks/{made['id']}/deliveries")
    return list(page["webhook_deliveries"])


async def test_an_event_reaches_the_program_signed_and_once(acme: Shop) -> None:
    async with receiving() as receiver:
        made = await webhook(acme, receiver.url, CREATED)
        customer = await acme.customer()

        async def came() -> bool:
            return bool(receiver.told(customer))

        await eventually(came, "the event comes")

        async def delivered() -> Any:
            found = await deliveries_of(acme, made)
            return found if found[0]["state"] == "delivered" else None

        (delivery,) = await eventually(delivered, "the delivery is written down")
        read = await acme.get(f"/webhook-deliveries/{delivery['id']}")
        await acme.client.delete(f"/webhooks/{made['id']}")

    ((headers, body),) = receiver.came
    event = orjson.loads(body)
    assert is_ours(headers, body, made["secret"])
    assert not is_ours(headers, body + b" ", made["secret"])
    assert (event["type"], event["subject"]) == (CREATED, customer)
    assert headers["webhook-id"] == delivery["id"]
    assert [attempt["status_code"] for attempt in read["attempts"]] == [200]
    assert read["attempts"][0]["response"] == "ok"


async def test_a_webhook_can_be_tried_out_and_given_a_new_secret(acme: Shop) -> None:
    async with receiving() as receiver:
        made = await webhook(acme, receiver.url, CREATED)
        changed = await acme.post(f"/webhooks/{made['id']}:rotateSecret", {})
        await acme.post(f"/webhooks/{made['id']}:test", {})

        async def came() -> bool:
            return bool(receiver.told(made["id"]))

        await eventually(came, "the test comes")
        shown = await acme.get(f"/webhooks/{made['id']}")
        await acme.client.delete(f"/webhooks/{made['id']}")

    ((headers, body),) = receiver.came
    assert orjson.loads(body)["type"] == "erp.gateway.v1.WebhookTested"
    assert changed["secret"] != made["secret"]
    assert is_ours(headers, body, made["secret"])
    assert is_ours(headers, body, changed["secret"])
    assert shown["secret"] == ""


async def test_what_failed_comes_again_under_the_same_id_and_so_does_what_is_redelivered(
    stack: BackgroundStack, acme: Shop
) -> None:
    async with receiving(503) as receiver:
        made = await webhook(acme, receiver.url, CREATED)
        customer = await acme.customer()

        async def came(times: int) -> bool:
            return len(receiver.told(customer)) >= times

        await eventually(lambda: came(1), "the event comes")
        receiver.status = 200
        # The worker that would try again dies; another one does.
        await back(stack, "gateway-worker", stack.kill("gateway-worker"))
        await eventually(lambda: came(2), "the event comes again", seconds=60)
        (delivery,) = await deliveries_of(acme, made)
        before = len(receiver.told(customer))
        await acme.post(f"/webhook-deliveries/{delivery['id']}:redeliver", {})
        await eventually(lambda: came(before + 1), "the event is redelivered")
        await acme.client.delete(f"/webhooks/{made['id']}")

    assert {head["webhook-id"] for head in receiver.told(customer)} == {delivery["id"]}


async def test_webhooks_lead_outside_only(acme: Shop) -> None:
    for url in ("https://169.254.169.254/", "https://10.1.2.3/", "ftp://example.com/", "https://"):
        answer = await acme.try_post("/webhooks", {"url": url})

        assert answer.status_code == 400
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/url"]


async def test_no_tenant_reaches_anothers_webhooks(acme: Shop, globex: Shop) -> None:
    made = await webhook(acme, "https://example.com/hook", "erp.sales.v1.OrderShipped")
    path = f"/webhooks/{made['id']}"

    statuses = [
        (await globex.client.get(path)).status_code,
        (await globex.client.delete(path)).status_code,
        (await globex.client.get(f"{path}/deliveries")).status_code,
        (await globex.try_post(f"{path}:test", {})).status_code,
        (await globex.try_post(f"{path}:rotateSecret", {})).status_code,
    ]

    assert statuses == [404] * 5
    assert (await acme.client.delete(path)).status_code == 204
