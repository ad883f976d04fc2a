"""Which replica answers a read, and when none does."""

import asyncio
import random
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass

import psycopg
import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection

from common.connections import (
    USUAL,
    Habits,
    TooBusy,
    command,
    commit,
    meaning_of,
    open_engine,
    roll_back,
)
from common.consistency import Reading
from common.database_urls import at_host
from common.deadline import DeadlineExceeded
from common.errors import OutcomeUnknown, Unavailable
from common.tasks import end

__all__ = ["ReplicaFailed", "Replicas"]

# A replica that has not begun a transaction by now is taken to be away.
PATIENCE_SECONDS = 0.25
PROBE_SECONDS = 0.5
# A replica found behind a token is asked again, for a read, not before this.
RECHECK_SECONDS = 0.005
# A server that is no replica (any more) has all that it has written.
_REPLAYED = """
    SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                ELSE pg_current_wal_insert_lsn() END - '0/0'::pg_lsn
"""
# What is flushed is what a replica can have; what is inserted may wait for the next flush.
_FLUSHED = "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn"
_BROKEN = (psycopg.Error, DBAPIError, PoolTimeoutError, OSError)

_READS = Counter(
    "kv_erp_replica_reads_total",
    "Reads that a replica could have answered, by how that went.",
    ["outcome"],
)
_LAG = Gauge(
    "kv_erp_replica_lag_seconds", "How old the oldest write is that it lacks.", ["replica"]
)
_UP = Gauge("kv_erp_replica_up", "1 while reads go to it.", ["replica"])

log = structlog.get_logger()


@dataclass(eq=False)
class ReplicaFailed(Unavailable):
    """A replica broke off a read; the same read on the primary may well succeed: 503."""


class Replica:
    """One replica: what is known of it, and the connections to it."""

    def __init__(self, name: str, url: URL, pool_size: int, habits: Habits) -> None:
        self.name = name
        self.replayed = 0
        self.asked_at = 0.0
        self._engine = open_engine(
            url, pool_size, pool_seconds=PATIENCE_SECONDS, habits=habits, name="replica"
        )
        self._up = False
        # What the primary had and this one lacks: when it was seen there, and how far that was.
        self._lacking: deque[tuple[float, int]] = deque(maxlen=1000)
        self._probe: asyncio.Task[None] | None = None
        self._late: set[asyncio.Task[None]] = set()

    def lag_seconds(self) -> float:
        """How old the oldest write is that it lacks, as far as is known here."""
        return time.monotonic() - self._lacking[0][0] if self._lacking else 0.0

    def is_good(self, most_lag_seconds: float) -> bool:
        """Whether it answers, and not from too long ago."""
        return self._up and self.lag_seconds() <= most_lag_seconds

    def compare(self, primary: int) -> None:
        """Note how far the primary is."""
        if primary > self.replayed and (not self._lacking or primary > self._lacking[-1][1]):
            self._lacking.append((time.monotonic(), primary))
        _LAG.labels(self.name).set(self.lag_seconds())

    def lost(self, why: object) -> None:
        """Send it no reads until a probe succeeds."""
        if self._up:
            log.warning("replica lost", replica=self.name, why=str(why) or repr(why))
        self._up = False
        # Another server may come back under its name.
        self.replayed = 0
        _UP.labels(self.name).set(0)

    async def begin(self, opening: str, position: int) -> AsyncConnection | None:
        """A connection with an open transaction; None when it lacks the position or is away."""
        task = asyncio.create_task(self._begin(opening, position))
        await asyncio.wait({task}, timeout=PATIENCE_SECONDS)
        if not task.done():
            self.lost("does not answer")
            # Not cancelled: that would wait for the server too.
            self._keep(_discard(task))
            return None
        try:
            return task.result()
        except _BROKEN as error:
            if not isinstance(error, PoolTimeoutError):
                self.lost(error)
            return None

    async def probe(self) -> None:
        """Find out within half a second whether it answers, and how far it is."""
        # One that still hangs from last time is asked again, not doubled.
        if self._probe is None or self._probe.done():
            self._probe = asyncio.create_task(self._ask())
        await asyncio.wait({self._probe}, timeout=2 * PATIENCE_SECONDS)
        if not self._probe.done():
            self.lost("does not answer")

    async def close(self) -> None:
        """Close all connections."""
        await end(*self._late, *([self._probe] if self._probe else []))
        await self._engine.dispose()

    async def _begin(self, opening: str, position: int) -> AsyncConnection | None:
        connection = await self._engine.connect()
        try:
            if await self._reaches(connection, opening, position):
                return connection
            await roll_back(connection)
        except BaseException:
            await connection.invalidate()
            await connection.close()
            raise
        await connection.close()
        return None

    async def _reaches(self, connection: AsyncConnection, opening: str, position: int) -> bool:
        """Begin, and ask in the same round trip how far it is if that is not known to be enough."""
        # Remembered by connection: behind the same name may be another server, on another one.
        if connection.info.get("replayed", 0) >= position:
            await command(connection, opening)
            return True
        cursor = await command(connection, f"{opening}; {_REPLAYED}")
        while cursor.nextset():
            pass
        connection.info["replayed"] = replayed = int((await cursor.fetchone())[0])
        self._has(replayed)
        return replayed >= position

    async def _ask(self) -> None:
        try:
            async with self._engine.connect() as connection:
                cursor = await command(connection, _REPLAYED)
                self._has(int((await cursor.fetchone())[0]))
        except _BROKEN as error:
            self.lost(error)
            # The idle connections of a server that has gone are of no use.
            await self._engine.dispose()
            return
        if not self._up:
            log.info("replica found", replica=self.name)
        self._up = True
        _UP.labels(self.name).set(1)

    def _has(self, replayed: int) -> None:
        self.replayed = max(self.replayed, replayed)
        self.asked_at = time.monotonic()
        while self._lacking and self._lacking[0][1] <= replayed:
            self._lacking.popleft()

    def _keep(self, coroutine: Awaitable[None]) -> None:
        task = asyncio.ensure_future(coroutine)
        self._late.add(task)
        task.add_done_callback(self._late.discard)


class Replicas:
    """The replicas of one database.

    Args:
        url: the primary's URL; a replica has the same credentials and database.
        hosts: where they are, as host or host:port.
        primary: runs a statement on the primary and returns its one value.
        pool_size: most connections to each.
        most_lag_seconds: one that lacks older writes than this answers no reads.
        habits: how connections are kept.
    """

    def __init__(
        self,
        url: str,
        hosts: Sequence[str],
        primary: Callable[[str], Awaitable[int]],
        *,
        pool_size: int,
        most_lag_seconds: float,
        habits: Habits = USUAL,
    ) -> None:
        self._replicas = [Replica(host, at_host(url, host), pool_size, habits) for host in hosts]
        self._primary = primary
        self._most_lag_seconds = most_lag_seconds
        self._watching: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def connected(
        self, reading: Reading, service: str, opening: str
    ) -> AsyncIterator[AsyncConnection | None]:
        """A transaction on a replica that is as fresh as the reading must be, None if none is.

        Raises:
            ReplicaFailed: it broke off after it had begun.
        """
        opened = await self._begin(opening, reading.positions.get(service, 0))
        if opened is None:
            yield None
            return
        replica, connection = opened
        reading.answered_by_replica()
        with _failing(replica):
            try:
                yield connection
                await commit(connection)
            except BaseException:
                await roll_back(connection)
                raise
            finally:
                await connection.close()
        _READS.labels("served").inc()

    async def close(self) -> None:
        """Close all connections."""
        if self._watching:
            await end(self._watching)
        await asyncio.gather(*(replica.close() for replica in self._replicas))

    async def _begin(self, opening: str, position: int) -> tuple[Replica, AsyncConnection] | None:
        if not self._replicas:
            return None
        if self._watching is None:
            self._watching = asyncio.create_task(self._watch())
        good = [one for one in self._replicas if one.is_good(self._most_lag_seconds)]
        if not good:
            _READS.labels("away").inc()
            return None
        replica = _choice(good, position)
        connection = await replica.begin(opening, position) if replica else None
        if replica is None or connection is None:
            _READS.labels("behind" if replica is None or replica.is_good(1e9) else "away").inc()
            return None
        return replica, connection

    async def _watch(self) -> None:
        while True:
            await asyncio.gather(self._compare(), *(one.probe() for one in self._replicas))
            await asyncio.sleep(PROBE_SECONDS)

    async def _compare(self) -> None:
        # A primary that is away is not moving on either.
        with suppress(Unavailable, DeadlineExceeded, OutcomeUnknown):
            position = await self._primary(_FLUSHED)
            for replica in self._replicas:
                replica.compare(position)


def _choice(good: Sequence[Replica], position: int) -> Replica | None:
    """One that is known to be there, else the one that is furthest, if it may have got there."""
    there = [one for one in good if one.replayed >= position]
    if there:
        return random.choice(there)  # noqa: S311 (spreads load, keeps no secret)
    furthest = max(good, key=lambda one: one.replayed)
    waited = time.monotonic() - furthest.asked_at
    return furthest if waited > RECHECK_SECONDS else None


@contextmanager
def _failing(replica: Replica) -> Iterator[None]:
    """Whatever a replica cannot do is the primary's to try."""
    try:
        yield
    except (*_BROKEN, OutcomeUnknown) as error:
        meaning = meaning_of(error)
        if isinstance(meaning, DeadlineExceeded):
            raise meaning from error
        if isinstance(meaning, (Unavailable, OutcomeUnknown)):
            replica.lost(error)
        # Replay waits for no reader for ever: it ends those that need what it is to remove.
        _READS.labels("conflict" if isinstance(meaning, TooBusy) else "failed").inc()
        raise ReplicaFailed("A replica") from error


async def _discard(beginning: "asyncio.Task[AsyncConnection | None]") -> None:
    with suppress(*_BROKEN):
        connection = await beginning
        if connection is not None:
            await connection.invalidate()
            await connection.close()
