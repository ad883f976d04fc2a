"""How the cache lies in Redis: keys, entries, and the two scripts that read and write them."""

import asyncio
import secrets
import struct
import time
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar
from uuid import UUID

import structlog
from redis.asyncio import Redis

from common.keys import tenant_key

__all__ = [
    "EVERYTHING",
    "FLUSHED",
    "LEASE_SECONDS",
    "MADE",
    "Entries",
    "Held",
    "Kept",
    "Lease",
    "Place",
    "tags_of",
]

# How long a maker that died keeps others from making; a living one renews its lease.
LEASE_SECONDS = 1.0
# Of one command, from sending it to its answer.
COMMAND_SECONDS = 0.05
# Commands under way at the same time; more would only open more connections.
MOST_COMMANDS = 32
# How much longer a tag lives than what was made under it.
_TAG_SECONDS = 60.0

# The tag of all entries of a tenant.
EVERYTHING = "*"
# How a message on the channel begins: a value was made, tags were flushed.
MADE, FLUSHED = b"m", b"f"
_STAMP_BYTES = 16
_HEAD = struct.Struct(">16sd?")

log = structlog.get_logger()
Result = TypeVar("Result")
_Arguments = list[Any]

# Finds an entry that was made under the stamps that its tags bear now. Else says who is to make it.
# KEYS: entry, lease, tags …  ARGV: random, lease in ms (0: without one), life of the tags in ms
# Answers {1, entry}, {0, stamps} when the caller is to make it, {-1, ms} when another one does.
_LOOK = """
local found = redis.call('MGET', unpack(KEYS))
local stamps = ''
for place = 3, #KEYS do
  if not found[place] then
    found[place] = ARGV[1]
    redis.call('SET', KEYS[place], ARGV[1], 'PX', ARGV[3])
  end
  stamps = stamps .. found[place]
end
if found[1] and string.sub(found[1], 1, #stamps) == stamps then
  return {1, found[1]}
end
for place = 3, #KEYS do
  redis.call('PEXPIRE', KEYS[place], ARGV[3], 'GT')
end
if ARGV[2] == '0' then
  return {0, stamps}
end
local lease = found[2]
if lease and string.sub(lease, 1, #stamps) == stamps then
  if #lease == #stamps + #ARGV[1] then
    redis.call('APPEND', KEYS[2], '!')
  end
  return {-1, redis.call('PTTL', KEYS[2])}
end
redis.call('SET', KEYS[2], stamps .. ARGV[1], 'PX', ARGV[2])
return {0, stamps}
"""

# Stores an entry unless one of its tags was flushed since, gives the lease back, wakes who waits.
# KEYS: as above  ARGV: stamps, random, entry without stamps (empty: none), ms, channel, message
_KEEP = """
local found = redis.call('MGET', unpack(KEYS))
local stamps = ''
for place = 3, #KEYS do
  stamps = stamps .. (found[place] or '')
end
local kept = 0
if ARGV[3] ~= '' and stamps == ARGV[1] then
  local stored = redis.pcall('SET', KEYS[1], stamps .. ARGV[3], 'PX', ARGV[4])
  if not stored.err then
    kept = 1
  end
end
local mine = ARGV[1] .. ARGV[2]
if found[2] and string.sub(found[2], 1, #mine) == mine then
  redis.call('UNLINK', KEYS[2])
  if #found[2] > #mine then
    redis.call('PUBLISH', ARGV[5], ARGV[6])
  end
end
return kept
"""


@dataclass(frozen=True)
class Place:
    """Where one entry of a tenant is kept, and under which tags."""

    tenant_id: UUID
    key: str
    lease: str
    tags: tuple[str, ...]

    @classmethod
    def of(cls, prefix: str, tenant_id: UUID, name: str, tags: Sequence[str]) -> "Place":
        """The place of the entry with this name."""
        return cls(
            tenant_id,
            tenant_key(prefix, tenant_id, "entry", name),
            tenant_key(prefix, tenant_id, "maker", name),
            tags_of(prefix, tenant_id, (EVERYTHING, *tags)),
        )

    @property
    def keys(self) -> tuple[str, ...]:
        """The scripts' KEYS."""
        return (self.key, self.lease, *self.tags)


class Kept(NamedTuple):
    """What an entry holds; None when there is known to be nothing."""

    value: bytes | None
    # Wall clock.
    ends: float


class Lease(NamedTuple):
    """The right to make a value, and the stamps that its tags bore when it was given."""

    stamps: bytes
    token: bytes


class Held(NamedTuple):
    """Another process makes the value; its lease ends after so many seconds."""

    seconds: float


class Entries:
    """The entries in Redis. Every command may fail with one of AWAY, after 50 ms at most.

    Args:
        redis: where they are.
        channel: where it is told that a value was made or tags were flushed.
    """

    def __init__(self, redis: Redis, channel: str) -> None:
        self._redis = redis
        self._channel = channel
        self._look = redis.register_script(_LOOK)
        self._keep = redis.register_script(_KEEP)
        self._commands = asyncio.Semaphore(MOST_COMMANDS)

    async def look(self, place: Place, ttl_seconds: float) -> Kept | Lease | Held | None:
        """The value, or who is to make it; None when an intruder was found and removed."""
        token = secrets.token_bytes(_STAMP_BYTES)
        arguments: _Arguments = [token, _ms(LEASE_SECONDS), _ms(ttl_seconds + _TAG_SECONDS)]
        state, answer = await self._ask(self._look(place.keys, arguments))
        if state == 0:
            return Lease(answer, token)
        if state < 0:
            return Held(max(answer, 1) / 1000)
        kept = _decode(place, answer)
        if kept is None:
            log.error("cached value of another tenant", key=place.key)
            await self._ask(self._redis.unlink(place.key))
        return kept

    async def renew(self, place: Place) -> None:
        """Keep the lease for another while."""
        await self._ask(self._redis.pexpire(place.lease, _ms(LEASE_SECONDS)))

    async def keep(
        self, place: Place, lease: Lease, value: bytes | None, seconds: float
    ) -> Kept | None:
        """Store a value and give the lease back; None when a tag was flushed meanwhile."""
        ends = time.time() + seconds
        entry = _HEAD.pack(place.tenant_id.bytes, ends, value is not None) + (value or b"")
        stored = await self._ask(
            self._keep(place.keys, self._keeping(place, lease, entry, seconds))
        )
        return Kept(value, ends) if stored else None

    async def give_up(self, place: Place, lease: Lease) -> None:
        """Give the lease back with nothing made."""
        await self._ask(self._keep(place.keys, self._keeping(place, lease, b"", 0)))

    async def look_all(
        self, places: Sequence[Place], ttl_seconds: float
    ) -> list[Kept | Lease | None]:
        """The values, or the stamps for those that are missing, in one round trip."""
        token = secrets.token_bytes(_STAMP_BYTES)
        arguments: _Arguments = [token, 0, _ms(ttl_seconds + _TAG_SECONDS)]
        async with self._redis.pipeline(transaction=False) as pipe:
            for place in places:
                await self._look(place.keys, arguments, client=pipe)
            answers = await self._ask(pipe.execute())
        return [
            _decode(place, answer) if state == 1 else Lease(answer, token)
            for place, (state, answer) in zip(places, answers, strict=True)
        ]

    async def keep_all(self, values: Mapping[Place, tuple[Lease, bytes]], seconds: float) -> None:
        """Store values, but for those of which a tag was flushed meanwhile, in one round trip."""
        ends = time.time() + seconds
        async with self._redis.pipeline(transaction=False) as pipe:
            for place, (lease, value) in values.items():
                entry = _HEAD.pack(place.tenant_id.bytes, ends, True) + value
                arguments = self._keeping(place, lease, entry, seconds)
                await self._keep(place.keys, arguments, client=pipe)
            await self._ask(pipe.execute())

    async def flush(self, tags: Sequence[str], message: bytes) -> None:
        """Take the tags' stamps away: the next reader draws new ones, that nothing bears yet."""
        async with self._redis.pipeline(transaction=False) as pipe:
            pipe.unlink(*tags)
            pipe.publish(self._channel, message)
            await self._ask(pipe.execute())

    def _keeping(self, place: Place, lease: Lease, entry: bytes, seconds: float) -> _Arguments:
        arguments: _Arguments = [*lease, entry, max(_ms(seconds), 1)]
        return [*arguments, self._channel, MADE + place.key.encode()]

    async def _ask(self, command: Awaitable[Result]) -> Result:
        async with self._commands, asyncio.timeout(COMMAND_SECONDS):
            return await command


def tags_of(prefix: str, tenant_id: UUID, tags: Sequence[str]) -> tuple[str, ...]:
    """The keys of a tenant's tags."""
    return tuple(tenant_key(prefix, tenant_id, "tag", tag) for tag in tags)


def _decode(place: Place, entry: bytes) -> Kept | None:
    """What an entry holds; None when it is not this tenant's."""
    start = _STAMP_BYTES * len(place.tags)
    if len(entry) < start + _HEAD.size:
        return None
    owner, ends, there = _HEAD.unpack_from(entry, start)
    if owner != place.tenant_id.bytes:
        return None
    return Kept(entry[start + _HEAD.size :] if there else None, ends)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
