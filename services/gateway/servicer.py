"""Wire in, wire out: what the gateway itself answers over gRPC."""

from datetime import UTC
from typing import Any

from common import ids
from common.database import Database
from common.pagination import Page
from erp.events.v1 import events_pb2, events_pb2_grpc
from erp.gateway.v1 import gateway_pb2, gateway_service_pb2, gateway_service_pb2_grpc
from gateway import api_tokens
from gateway.invariants import Invariants
from gateway.publisher import Publisher


class GatewayServicer(gateway_service_pb2_grpc.GatewayServiceServicer):
    """Credentials, and checks on the caller's data."""

    def __init__(self, database: Database, invariants: Invariants) -> None:
        self._database = database
        self._invariants = invariants

    async def CreateApiToken(
        self, request: gateway_service_pb2.CreateApiTokenRequest, context: Any
    ) -> gateway_pb2.ApiToken:
        """Make a token."""
        expires = request.expire_time if request.HasField("expire_time") else None
        expires_at = expires and expires.ToDatetime(UTC)
        return await self._database.run(
            lambda tx: api_tokens.create_token(tx, request.name, request.permissions, expires_at)
        )

    async def ListApiTokens(
        self, request: gateway_service_pb2.ListApiTokensRequest, context: Any
    ) -> gateway_service_pb2.ListApiTokensResponse:
        """List tokens."""
        async with self._database.read_transaction() as tx:
            tokens, next_page = await api_tokens.list_tokens(tx, Page.from_wire(request))
        return gateway_service_pb2.ListApiTokensResponse(
            api_tokens=tokens, next_page_token=next_page
        )

    async def RevokeApiToken(
        self, request: gateway_service_pb2.RevokeApiTokenRequest, context: Any
    ) -> gateway_pb2.ApiToken:
        """Make a token useless."""
        token_id = ids.parse(request.id, "id")
        return await self._database.run(lambda tx: api_tokens.revoke_token(tx, token_id))

    async def CheckInvariants(
        self, request: gateway_service_pb2.CheckInvariantsRequest, context: Any
    ) -> gateway_service_pb2.CheckInvariantsResponse:
        """Check every promise of the system on the caller's data."""
        violations = await self._invariants.check()
        return gateway_service_pb2.CheckInvariantsResponse(violations=violations)


class EventPublisherServicer(events_pb2_grpc.EventPublisherServicer):
    """The doorbell of all services."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    async def Publish(
        self, request: events_pb2.PublishRequest, context: Any
    ) -> events_pb2.PublishResponse:
        """Publish committed events."""
        await self._publisher.publish(request.events)
        return events_pb2.PublishResponse()
