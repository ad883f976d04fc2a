"""What the gateway's worker does for webhooks: attempts to deliver."""

import time
from collections import Counter
from types import SimpleNamespace
from uuid import UUID

from common.errors import Unavailable
from common.jobs import Work, handles
from erp.gateway.v1.jobs_pb2 import DeliverWebhook
from gateway import webhook_deliveries
from gateway.outside_http import OutsideHttp, Reply
from gateway.webhook_deliveries import QUEUE, Sending
from gateway.webhook_secrets import Secrets, signed_headers

__all__ = ["MOST_AT_ONCE", "WebhookSender"]

# Requests under way to one webhook, of each process.
MOST_AT_ONCE = 4
_ALWAYS = {"content-type": "application/cloudevents+json", "user-agent": "kv-erp-webhooks/1"}


class WebhookSender:
    """Makes attempts.

    Args:
        http: sends.
        secrets: opens the webhooks' secrets.
    """

    def __init__(self, http: OutsideHttp, secrets: Secrets) -> None:
        self._http = http
        self._secrets = secrets
        self._under_way: Counter[UUID] = Counter()

    @property
    def handlers(self) -> SimpleNamespace:
        """The handlers of jobs, as a module would hold them."""
        mark = handles(DeliverWebhook, queue=QUEUE, tries=20, timeout=60, backoff=30)

        async def deliver(work: Work[DeliverWebhook]) -> None:
            await self._deliver(work)

        return SimpleNamespace(deliver=mark(deliver))

    async def _deliver(self, work: Work[DeliverWebhook]) -> None:
        async with work.transaction() as tx:
            step = await webhook_deliveries.begin(tx, work.message, self._is_busy)
        if isinstance(step, float):
            async with work.completion() as tx:
                await webhook_deliveries.postpone(tx, work.message, step)
        elif step is not None:
            reply = await self._send(step)
            async with work.completion() as tx:
                await webhook_deliveries.record(tx, work.message, step, reply)

    async def _send(self, sending: Sending) -> Reply:
        keys = [self._secrets.open(secret, sending.webhook_id) for secret in sending.secrets]
        if keys[0] is None:
            raise Unavailable("The key under which the webhook's secret lies")
        good = [key for key in keys if key is not None]
        now = int(time.time())
        headers = signed_headers(str(sending.delivery_id), now, sending.body, good)
        self._under_way[sending.webhook_id] += 1
        try:
            return await self._http.post(sending.url, _ALWAYS | headers, sending.body)
        finally:
            self._under_way[sending.webhook_id] -= 1
            if not self._under_way[sending.webhook_id]:
                del self._under_way[sending.webhook_id]

    def _is_busy(self, webhook_id: UUID) -> bool:
        return self._under_way[webhook_id] >= MOST_AT_ONCE
