"""Waiting, for a client that asked to, until other services have done their part of a command."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from common import caller
from common.channel import Rpc
from common.errors import DomainError
from common.rpc_policy import RpcPolicy, Settlement
from common.secret_fields import has_secrets
from gateway.feed import Feed

# A lost event is noticed by looking: often while nothing arrives over Redis at all, more and more
# seldom otherwise.
_FIRST_LOOK_SECONDS = 0.5
_LONGEST_LOOK_SECONDS = 4.0
_READ_SECONDS = 2.0


class Settlements:
    """Follows commands to the end of their follow-up work."""

    def __init__(self, feed: Feed, reads: Mapping[str, tuple[RpcPolicy, Rpc]]) -> None:
        """Use this feed, and these rpcs by path to read the resources."""
        self._feed = feed
        self._reads = reads

    def can_follow(self, settlement: Settlement) -> bool:
        """Whether the caller may read what is to be waited for."""
        return self._reads[settlement.read][0].lets_in(caller.current())

    async def follow(
        self, settlement: Settlement, answer: Any, started: float, seconds: float, again: bool
    ) -> Any:
        """The resource once nothing is awaited any more, or as it is when the seconds are over.

        Args:
            settlement: says what to wait for and how to read.
            answer: the resource as the command returned it.
            started: when the request came, on the monotonic clock; the seconds count from there.
            seconds: how long the client would wait.
            again: whether the command was carried out before, so that its work may be done by now.
        """
        if again and answer.awaiting and seconds:
            answer = await self._read(settlement, answer)
        heard, pause = started, _FIRST_LOOK_SECONDS
        while answer.awaiting and (left := started + seconds - time.monotonic()) > 0:
            before, heard = (
                heard,
                await self._feed.heard(settlement.event, answer.id, heard, min(left, pause)),
            )
            if heard == before and self._feed.connected and settlement.event:
                pause = min(pause * 2, _LONGEST_LOOK_SECONDS)
            answer = await self._read(settlement, answer)
        return answer

    async def _read(self, settlement: Settlement, answer: Any) -> Any:
        policy, rpc = self._reads[settlement.read]
        request: Callable[..., Message] = policy.request
        try:
            read = await rpc(request(id=answer.id), timeout=_READ_SECONDS)
        except DomainError:
            # The command has been carried out: whatever goes wrong now, its answer stands.
            return answer
        _show_again(answer, read)
        return read


def _show_again(answer: Any, read: Any) -> None:
    """Let a resource that was read later show what a command's answer alone shows: secrets."""
    for field, value in answer.ListFields():
        kind = field.message_type
        if kind is None or field.is_repeated or not has_secrets(kind):
            continue
        if not read.HasField(field.name):
            getattr(read, field.name).CopyFrom(value)
