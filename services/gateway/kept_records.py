"""Answers that are kept until a write or an event outdates them.

They lie in Redis only, never in the process: each use asks there whether they still hold, so that
what one process of the gateway has written no other shows as it was before.
"""

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any
from uuid import UUID

from common.cache import Cache
from common.rpc_policy import Idempotency
from erp.events.v1.events_pb2 import Event
from gateway.representation import Representation
from gateway.routes import Route

__all__ = ["KeptRecords"]


class KeptRecords:
    """The answers of the rpcs that allow it by `cache_ttl`, by tenant and record.

    Args:
        cache: where they are kept.
        routes: all routes.
    """

    def __init__(self, cache: Cache, routes: Iterable[Route]) -> None:
        self._cache = cache
        keeping = [route for route in routes if route.policy.cache_seconds is not None]
        self._kinds = {route.record for route in keeping}
        self._events = {name for route in keeping for name in route.policy.outdated_by}

    async def remember(
        self, route: Route, message: Any, read: Callable[[], Awaitable[Representation]]
    ) -> Representation:
        """The answer to a message, kept or read."""
        seconds = route.policy.cache_seconds
        assert seconds is not None
        # All that is asked, so that no two questions can have one answer.
        question = message.SerializeToString(deterministic=True).hex()
        name = f"representation:{route.policy.path}:{question}"

        async def make() -> bytes:
            return (await read()).pack()

        packed = await self._cache.remember(name, seconds, make, [_tag(message.id)])
        assert packed is not None
        return Representation.unpack(packed)

    async def outdate(self, route: Route, message: Any) -> None:
        """Flush what is kept of the record that a write names, before it is answered.

        After an error too: what it reports as failed may have happened.
        """
        if self._writes(route):
            await self._cache.flush(_tag(message.id))

    async def hear(self, events: Sequence[Event]) -> None:
        """Flush what these events outdate."""
        tags: dict[str, set[str]] = {}
        for event in events:
            if event.type in self._events:
                tags.setdefault(event.tenant_id, set()).add(_tag(event.subject))
        for tenant_id, outdated in tags.items():
            await self._cache.flush_of(UUID(tenant_id), sorted(outdated))

    def _writes(self, route: Route) -> bool:
        changes = route.policy.idempotency is not Idempotency.NO_SIDE_EFFECTS
        return changes and route.record in self._kinds and "id" in route.parameters


def _tag(record_id: str) -> str:
    # As services write it, however the client did.
    return record_id.lower()
