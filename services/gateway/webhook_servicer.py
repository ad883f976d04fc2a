"""Wire in, wire out: webhooks and their deliveries."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from common import ids
from common.database import Database
from common.pagination import Page
from erp.gateway.v1 import webhook_pb2 as pb
from erp.gateway.v1 import webhook_service_pb2 as api
from erp.gateway.v1 import webhook_service_pb2_grpc as rpc
from gateway import webhook_deliveries as deliveries
from gateway import webhooks
from gateway.webhooks import NewWebhook, Webhooks, change_of


class WebhookServicer(rpc.WebhookServiceServicer):
    """Webhooks of the caller's tenant."""

    def __init__(
        self,
        database: Database,
        rules: Webhooks,
        heads: Callable[[], Awaitable[Mapping[str, int]]],
    ) -> None:
        """Use this database; `heads` says how far the tenant's events go in each service."""
        self._database = database
        self._rules = rules
        self._heads = heads

    async def CreateWebhook(self, request: api.CreateWebhookRequest, context: Any) -> pb.Webhook:
        """Make a webhook."""
        new = NewWebhook(request.url, request.description, tuple(request.types))
        self._rules.check(new.url, new.types)
        heads = await self._heads()
        return await self._database.run(lambda tx: self._rules.create(tx, new, heads))

    async def GetWebhook(self, request: api.GetWebhookRequest, context: Any) -> pb.Webhook:
        """Read a webhook."""
        webhook_id = ids.parse(request.id, "id")
        return await self._database.read(lambda tx: webhooks.get(tx, webhook_id))

    async def ListWebhooks(
        self, request: api.ListWebhooksRequest, context: Any
    ) -> api.ListWebhooksResponse:
        """List webhooks."""
        page = Page.from_wire(request)
        found, more = await self._database.read(lambda tx: webhooks.list_all(tx, page))
        return api.ListWebhooksResponse(webhooks=found, next_page_token=more)

    async def UpdateWebhook(self, request: api.UpdateWebhookRequest, context: Any) -> pb.Webhook:
        """Change a webhook."""
        webhook_id, values = ids.parse(request.id, "id"), change_of(request)
        return await self._database.run(
            lambda tx: self._rules.change(tx, webhook_id, request.version, values)
        )

    async def DeleteWebhook(self, request: api.DeleteWebhookRequest, context: Any) -> pb.Webhook:
        """Remove a webhook."""
        webhook_id = ids.parse(request.id, "id")
        return await self._database.run(lambda tx: webhooks.remove(tx, webhook_id))

    async def TestWebhook(
        self, request: api.TestWebhookRequest, context: Any
    ) -> pb.WebhookDelivery:
        """Try a webhook out."""
        webhook_id = ids.parse(request.id, "id")
        return await self._database.run(lambda tx: deliveries.test(tx, webhook_id))

    async def RotateWebhookSecret(
        self, request: api.RotateWebhookSecretRequest, context: Any
    ) -> pb.Webhook:
        """Give a webhook a new secret."""
        webhook_id = ids.parse(request.id, "id")
        return await self._database.run(lambda tx: self._rules.rotate_secret(tx, webhook_id))

    async def ListWebhookDeliveries(
        self, request: api.ListWebhookDeliveriesRequest, context: Any
    ) -> api.ListWebhookDeliveriesResponse:
        """List deliveries."""
        webhook_id, page = ids.parse(request.id, "id"), Page.from_wire(request)
        found, more = await self._database.read(
            lambda tx: deliveries.list_of(tx, webhook_id, page, request.state)
        )
        return api.ListWebhookDeliveriesResponse(webhook_deliveries=found, next_page_token=more)

    async def GetWebhookDelivery(
        self, request: api.GetWebhookDeliveryRequest, context: Any
    ) -> pb.WebhookDelivery:
        """Read a delivery."""
        delivery_id = ids.parse(request.id, "id")
        return await self._database.read(lambda tx: deliveries.get(tx, delivery_id))

    async def RedeliverWebhookDelivery(
        self, request: api.RedeliverWebhookDeliveryRequest, context: Any
    ) -> pb.WebhookDelivery:
        """Send again."""
        delivery_id = ids.parse(request.id, "id")
        return await self._database.run(lambda tx: deliveries.redeliver(tx, delivery_id))
