"""From the Authorization header to the client, with the database asked once in a while only."""

import asyncio
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from common.caller import Caller
from common.errors import DomainError, Unauthenticated
from common.sessions import Session
from gateway.api_tokens import REVOKED, SHAPE, Holder, hash_of
from gateway.errors import TenantSuspended

# How long a token works after it was revoked at another process of the gateway, when no message
# of it arrives. Usually one does, at once.
CACHED_SECONDS = 2.0
# While the database is away nobody can revoke anything, so tokens seen lately stay good.
KEPT_SECONDS = 60.0
_MOST_CACHED = 10_000

_BEARER = re.compile(rb"(?i:bearer) +(%s)" % SHAPE.pattern)

Find = Callable[[bytes], Awaitable[Holder | None]]


@dataclass(frozen=True)
class Client:
    """Who is at the door: on whose behalf, and what their plan lets them ask."""

    caller: Caller
    plan: str
    # Of a person who is logged in.
    session: Session | None = None


@dataclass(frozen=True)
class _Known:
    client: Client | None
    checked: float
    # Wall clock; infinite when it never ends.
    expires: float
    suspended: bool = False


class ApiTokenCredentials:
    """Knows clients by their API token."""

    def __init__(self, find: Find) -> None:
        """Ask this function for the holder of a hash."""
        self._find = find
        # Apart, so that guesses cannot push out what is good.
        self._good: OrderedDict[bytes, _Known] = OrderedDict()
        self._bad: OrderedDict[bytes, _Known] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[_Known]] = {}
        self._forgotten = 0

    async def client_of(self, authorization: bytes | None) -> Client:
        """The client that a header names.

        Raises:
            Unauthenticated: there is no token, or it is not good.
            TenantSuspended: its company is.
            Unavailable: the database is away and the token has not been seen lately.
        """
        if not authorization:
            raise Unauthenticated("Send an API token as Authorization: Bearer kv_…")
        match = _BEARER.fullmatch(authorization)
        known = await self._known(hash_of(match[1])) if match else None
        if known is None or known.client is None or known.expires <= time.time():
            raise Unauthenticated("This credential is not valid, or no longer.")
        if known.suspended:
            raise TenantSuspended
        return known.client

    def forget(self) -> None:
        """Ask the database again for each token: one was revoked."""
        self._forgotten += 1
        self._good.clear()
        # Whoever comes from now on must not be told what was read before.
        self._asking.clear()

    def hear(self, flushed: Sequence[str]) -> None:
        """Heed the keys of tags that some process flushed."""
        if any(key.endswith(f":{REVOKED}") for key in flushed):
            self.forget()

    async def _known(self, token_hash: bytes) -> _Known:
        known = self._good.get(token_hash) or self._bad.get(token_hash)
        age = time.monotonic() - known.checked if known else 0.0
        if known and age < CACHED_SECONDS:
            return known
        try:
            return await self._ask(token_hash)
        except DomainError:
            if known and age < KEPT_SECONDS:
                return known
            raise

    async def _ask(self, token_hash: bytes) -> _Known:
        """Ask the database, once for all who want to know the same at the same time."""
        task = self._asking.get(token_hash)
        if task is None:
            task = self._asking[token_hash] = asyncio.create_task(self._look(token_hash))
            task.add_done_callback(lambda done: self._asked(token_hash, done))
        return await asyncio.shield(task)

    def _asked(self, token_hash: bytes, task: asyncio.Task[_Known]) -> None:
        if self._asking.get(token_hash) is task:
            del self._asking[token_hash]

    async def _look(self, token_hash: bytes) -> _Known:
        checked, forgotten = time.monotonic(), self._forgotten
        holder = await self._find(token_hash)
        known = _known(holder, checked)
        if forgotten != self._forgotten:
            return known
        self._good.pop(token_hash, None)
        cache = self._bad if holder is None else self._good
        cache[token_hash] = known
        if len(cache) > _MOST_CACHED:
            cache.popitem(last=False)
        return known


def _known(holder: Holder | None, checked: float) -> _Known:
    if holder is None:
        return _Known(None, checked, 0.0)
    caller = Caller(holder.tenant_id, f"token:{holder.token_id}", holder.permissions)
    expires = holder.expires_at.timestamp() if holder.expires_at else float("inf")
    return _Known(Client(caller, holder.plan), checked, expires, holder.suspended)
