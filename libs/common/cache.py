"""Values that are dear to make and may be kept for a while: made once, flushed by tag."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple
from uuid import UUID

from prometheus_client import Counter
from redis.asyncio import Redis

from common import caller, patience
from common.cache_entries import (
    EVERYTHING,
    FLUSHED,
    LEASE_SECONDS,
    Entries,
    Held,
    Kept,
    Lease,
    Place,
    tags_of,
)
from common.errors import Unauthenticated
from common.flights import Flights
from common.near_layer import NearLayer
from common.redis_link import AWAY, RedisLink

__all__ = ["Cache", "Make"]

# Nobody waits longer than this for another process: then they make the value themselves.
PATIENCE_SECONDS = 5.0
_RETRY_SECONDS = 0.05
_COUNT_SECONDS = 1.0
# Beyond this, all that a tenant has is flushed instead of its single tags.
_MOST_LATE = 10_000

_LOOKUPS = Counter("kv_erp_cache_lookups_total", "Values asked for.", ["outcome"])
_HITS, _NEAR_HITS, _MISSES, _BYPASSED = (
    _LOOKUPS.labels(outcome) for outcome in ("hit", "near_hit", "miss", "bypassed")
)
_FLUSHES = Counter("kv_erp_cache_flushes_total", "Flushes of tags.", ["outcome"])
_SENT, _LATE = (_FLUSHES.labels(outcome) for outcome in ("sent", "late"))

Make = Callable[[], Awaitable[bytes | None]]
MakeAll = Callable[[Collection[str]], Awaitable[Mapping[str, bytes]]]


class _Wanted(NamedTuple):
    """A value that is asked for, and how to come by it."""

    place: Place
    make: Make
    ttl_seconds: float
    empty_seconds: float


class _Late:
    """One flush that Redis has not taken yet; a later one of the same tag is another."""

    def __init__(self, tenant_id: UUID) -> None:
        self.tenant_id = tenant_id


class Cache:
    """Keeps values of the caller's tenant in Redis, and some of them in this process as well.

    It works while `run()` does and its link to Redis stands; at any other time it makes each value
    anew. What is flushed before a lookup begins is never seen by that lookup (docs/primitives/
    cache.md says when a flush may be late).

    Args:
        redis: a client that gives up soon (Role.CACHE).
        prefix: what all keys begin with.
    """

    def __init__(self, redis: Redis, prefix: str = "kv_erp_cache") -> None:
        self.link = RedisLink(redis, f"{prefix}:messages", self._hear, self._lose)
        self._entries = Entries(redis, self.link.channel)
        self._prefix = prefix
        self._listeners: list[Callable[[Sequence[str]], None]] = []
        self._near = NearLayer()
        self._near_hits = 0
        self._flights: Flights[bytes | None] = Flights()
        self._made: dict[str, asyncio.Event] = {}
        # Flushes that Redis has not taken yet.
        self._late: dict[str, _Late] = {}
        self._is_late = asyncio.Event()
        # Tenants whose entries in Redis may be believed; None while the link has never broken.
        self._trusted: set[UUID] | None = None

    async def run(self) -> None:
        """Hear of others' flushes, and repeat our own that Redis did not take, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.link.run())
            tasks.create_task(self._catch_up())
            tasks.create_task(self._count_near_hits())

    async def remember(
        self,
        name: str,
        ttl_seconds: float,
        make: Make,
        tags: Sequence[str] = (),
        *,
        empty_seconds: float = 5.0,
        near: bool = False,
    ) -> bytes | None:
        """The kept value of this name, or that of `make`, which is then kept.

        Args:
            name: what it is, within the caller's tenant.
            ttl_seconds: how long it may be kept.
            make: makes the value; called by one process at a time. None means: there is nothing.
            tags: what it depends on; flushing one of them ends it.
            empty_seconds: how long None is kept, if that is shorter.
            near: keep it in this process too, where a flush by another process is seen when its
                message arrives, milliseconds later. Not for what must be seen at once.

        Raises:
            Exception: what `make` raises; that is not kept.
        """
        tenant_id = _tenant()
        if near and self.link.stands and (slot := self._near.find((tenant_id, name))):
            self._near_hits += 1
            return slot.value
        place = Place.of(self._prefix, tenant_id, name, tags)
        wanted = _Wanted(place, make, ttl_seconds, min(ttl_seconds, empty_seconds))
        near_name = name if near else None
        return await self._flights.join(place.key, partial(self._fetch, wanted, near_name))

    async def remember_all(
        self,
        names: Collection[str],
        ttl_seconds: float,
        make: MakeAll,
        tags: Callable[[str], Sequence[str]] = lambda _: (),
    ) -> dict[str, bytes]:
        """The values of these names; `make` is asked once for all that are not kept.

        One round trip finds them and one keeps what was missing. What `make` leaves out is not
        kept and not in the answer. Several processes may make the same at once.
        """
        tenant_id = _tenant()
        places = {name: Place.of(self._prefix, tenant_id, name, tags(name)) for name in names}
        known, leases = await self._look_all(places, ttl_seconds)
        missing = [name for name in names if name not in known]
        if missing:
            made = await make(missing)
            new = {places[name]: (leases[name], made[name]) for name in made if name in leases}
            if new:
                with contextlib.suppress(*AWAY):
                    await self._entries.keep_all(new, ttl_seconds)
            known |= made
        return known

    async def flush(self, *tags: str) -> None:
        """End all values of the caller's tenant under these tags, in every process."""
        await self.flush_of(_tenant(), tags)

    async def flush_tenant(self) -> None:
        """End all values of the caller's tenant."""
        await self.flush(EVERYTHING)

    async def flush_of(self, tenant_id: UUID, tags: Sequence[str]) -> None:
        """End all values of a tenant under these tags.

        Never fails: what Redis does not take within 50 ms is repeated until it does, and until
        then this process does not believe what is kept under the tags.
        """
        keys = tags_of(self._prefix, tenant_id, tags)
        self._forget(keys)
        if not await self._send_flush(keys):
            self._late.update(dict.fromkeys(keys, _Late(tenant_id)))
            self._is_late.set()

    def on_flush(self, tell: Callable[[Sequence[str]], None]) -> None:
        """Let somebody be told of the keys of the tags that any process flushes."""
        self._listeners.append(tell)

    async def _fetch(self, wanted: _Wanted, near_name: str | None) -> bytes | None:
        place, slot = wanted.place, None
        if near_name is not None:
            slot = self._near.expect((place.tenant_id, near_name), place.tags)
        kept = await self._find_or_make(wanted)
        if slot and self.link.stands:
            self._near.fill(slot, kept.value, kept.ends)
        return kept.value

    async def _find_or_make(self, wanted: _Wanted) -> Kept:
        if not await self._can_use(wanted.place):
            return await self._bypass(wanted)
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                found = await self._look_until_free(wanted)
        except AWAY:
            return await self._bypass(wanted)
        if isinstance(found, Kept):
            _HITS.inc()
            return found
        if found is None:
            return await self._bypass(wanted)
        _MISSES.inc()
        return await self._make(wanted, found)

    async def _bypass(self, wanted: _Wanted) -> Kept:
        _BYPASSED.inc()
        # Nothing of it is kept, neither here nor in Redis.
        return Kept(await wanted.make(), 0.0)

    async def _can_use(self, *places: Place) -> bool:
        """Whether what is kept in Redis may be believed."""
        if not self.link.stands or patience.is_over():
            return False
        if any(tag in self._late for place in places for tag in place.tags):
            return False
        if self._trusted is None or all(place.tenant_id in self._trusted for place in places):
            return True
        # Flushes may have been lost while the link was broken, so the tenant begins afresh.
        trusted, tenant_id = self._trusted, places[0].tenant_id
        if not await self._send_flush(tags_of(self._prefix, tenant_id, (EVERYTHING,))):
            return False
        trusted.add(tenant_id)
        return trusted is self._trusted

    async def _look_until_free(self, wanted: _Wanted) -> Kept | Lease | None:
        """What is kept, or the lease to make it here."""
        with self._waiting_for(wanted.place.key) as made:
            while True:
                made.clear()
                found = await self._entries.look(wanted.place, wanted.ttl_seconds)
                if not isinstance(found, Held):
                    return found
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(found.seconds):
                        await made.wait()

    async def _make(self, wanted: _Wanted, lease: Lease) -> Kept:
        making = asyncio.ensure_future(wanted.make())
        try:
            while not (await asyncio.wait([making], timeout=LEASE_SECONDS / 3))[0]:
                with contextlib.suppress(*AWAY):
                    await self._entries.renew(wanted.place)
            value = making.result()
        except BaseException:
            making.cancel()
            with contextlib.suppress(*AWAY):
                await self._entries.give_up(wanted.place, lease)
            raise
        seconds = wanted.empty_seconds if value is None else wanted.ttl_seconds
        kept = None
        with contextlib.suppress(*AWAY):
            kept = await self._entries.keep(wanted.place, lease, value, seconds)
        return kept or Kept(value, 0.0)

    async def _look_all(
        self, places: Mapping[str, Place], ttl_seconds: float
    ) -> tuple[dict[str, bytes], dict[str, Lease]]:
        """Values that are kept, and the stamps for those that are not, by name."""
        known: dict[str, bytes] = {}
        leases: dict[str, Lease] = {}
        try:
            if not await self._can_use(*places.values()):
                raise TimeoutError
            found = await self._entries.look_all(list(places.values()), ttl_seconds)
        except AWAY:
            _BYPASSED.inc(len(places))
            return known, leases
        for name, answer in zip(places, found, strict=True):
            if isinstance(answer, Lease):
                leases[name] = answer
            elif answer and answer.value is not None:
                known[name] = answer.value
        _HITS.inc(len(known))
        _MISSES.inc(len(places) - len(known))
        return known, leases

    async def _send_flush(self, keys: Sequence[str]) -> bool:
        try:
            await self._entries.flush(keys, FLUSHED + "\0".join(keys).encode())
        except AWAY:
            _LATE.inc()
            return False
        _SENT.inc()
        return True

    async def _catch_up(self) -> None:
        while True:
            await self._is_late.wait()
            if len(self._late) > _MOST_LATE:
                everything = self._late.values()
                self._late = {
                    key: one
                    for one in everything
                    for key in tags_of(self._prefix, one.tenant_id, (EVERYTHING,))
                }
            sending = dict(self._late)
            if not await self._send_flush(list(sending)):
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            for key, late in sending.items():
                # What was flushed again meanwhile has to be sent again.
                if self._late.get(key) is late:
                    del self._late[key]
            if not self._late:
                self._is_late.clear()

    async def _count_near_hits(self) -> None:
        # Counting each for Prometheus would cost as much as finding it.
        while True:
            await asyncio.sleep(_COUNT_SECONDS)
            _NEAR_HITS.inc(self._near_hits)
            self._near_hits = 0

    def _hear(self, message: bytes) -> None:
        kind, text = message[:1], message[1:].decode()
        if kind == FLUSHED:
            self._forget(text.split("\0"))
        elif made := self._made.get(text):
            made.set()

    def _forget(self, keys: Sequence[str]) -> None:
        self._near.flush(keys)
        for tell in self._listeners:
            tell(keys)

    def _lose(self) -> None:
        self._near.clear()
        self._trusted = set()
        # Whoever waits for another process's value looks for itself.
        for made in self._made.values():
            made.set()

    @contextmanager
    def _waiting_for(self, key: str) -> Iterator[asyncio.Event]:
        # One flight a key, hence one waiter.
        made = self._made[key] = asyncio.Event()
        try:
            yield made
        finally:
            del self._made[key]


def _tenant() -> UUID:
    tenant_id = caller.current().tenant_id
    if tenant_id is None:
        raise Unauthenticated("What is kept belongs to a tenant, and the caller stands for none.")
    return tenant_id
