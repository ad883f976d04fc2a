"""Transactions that belong to a tenant, and the one explicit way past that."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import structlog
from prometheus_client import Counter
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from common import caller, consistency, deadline, held_locks, interruption, origin, rehearsal
from common.connections import (
    USUAL,
    Habits,
    TooBusy,
    command,
    commit,
    commit_with_position,
    connected,
    open_engine,
    take_back,
)
from common.errors import DomainError, Unauthenticated
from common.fair_share import Places
from common.idempotency import once
from common.replicas import Replicas
from common.settings import Settings
from common.transaction import PendingEvent, Transaction

__all__ = [
    "LONGEST_TRANSACTION_SECONDS",
    "Database",
    "PendingEvent",
    "RingDoorbell",
    "TooBusy",
    "Transaction",
    "WriteEvents",
    "constraint_of",
    "habits_of",
    "translating",
]

# No transaction may outlive this, so whoever looks back further sees all that was going on
# (event_log.Heads).
LONGEST_TRANSACTION_SECONDS = 30.0
_ATTEMPTS = 5
_RETRIES = Counter(
    "kv_erp_database_retries_total",
    "Transactions that were run again because others got in their way.",
)

Result = TypeVar("Result")

_PAST_TENANTS = Counter(
    "kv_erp_system_transactions_total", "Transactions over all tenants.", ["service", "reason"]
)

log = structlog.get_logger()


# Stores a transaction's events; returns what the doorbell rings with after the commit.
WriteEvents = Callable[[Transaction], Awaitable[list[Any]]]
RingDoorbell = Callable[[list[Any]], None]
# Stores a transaction's jobs; returns what their workers are woken with after the commit.
WriteJobs = Callable[[Transaction], Awaitable[list[Any]]]
# Ends what is cached of a tenant under some tags; never fails.
Flush = Callable[[UUID, Sequence[str]], Awaitable[None]]


class Database:
    """One service's database.

    Args:
        url: the application role's URL; the role owns nothing and sees one tenant at a time.
        system_url: the system role's URL, which sees all tenants.
        system_reasons: what `system_transaction` may be used for in this service.
        write_events: stores the events of a transaction before it commits.
        ring: told of the stored events after the commit; must not block.
        write_jobs: stores the jobs of a transaction before it commits.
        wake: told of the stored jobs after the commit; must not block.
        flush: told of what the commit outdated, before anybody learns of the commit.
        pool_size: most connections of the application role that this process opens, to each server.
        service: whose database it is, as consistency tokens name it; without a name none are made.
        replicas: host or host:port of its read replicas.
        most_lag_seconds: a replica that lacks older writes than this answers no reads.
        habits: how connections are kept.
    """

    def __init__(
        self,
        url: str,
        system_url: str | None = None,
        *,
        system_reasons: frozenset[str] = frozenset(),
        write_events: WriteEvents | None = None,
        ring: RingDoorbell | None = None,
        write_jobs: WriteJobs | None = None,
        wake: RingDoorbell | None = None,
        flush: Flush | None = None,
        pool_size: int = 8,
        service: str = "",
        replicas: Sequence[str] = (),
        most_lag_seconds: float = 10.0,
        habits: Habits = USUAL,
    ) -> None:
        self._service = service
        self._engine = open_engine(url, pool_size, habits=habits)
        self._places = Places(pool_size)
        self._replicas = Replicas(
            url,
            replicas,
            self._value,
            pool_size=pool_size,
            most_lag_seconds=most_lag_seconds,
            habits=habits,
        )
        self._system_engine = (
            open_engine(system_url, 4, habits=habits, name="system") if system_url else None
        )
        self._system_reasons = system_reasons
        self._told_reasons: set[str] = set()
        self._write_events = write_events
        self._ring = ring
        self._write_jobs = write_jobs
        self._wake = wake
        self._flush = flush

    @asynccontextmanager
    async def tenant_transaction(self) -> AsyncIterator[Transaction]:
        """A transaction for the caller's tenant: commits when left, rolls back on an exception.

        When the command is only rehearsed, it rolls back in any case.

        Raises:
            Unauthenticated: there is no caller, or the caller stands for no tenant.
            Unavailable: the database cannot be reached; nothing was done.
            OutcomeUnknown: the connection broke during the commit.
            LockLost: a lock of this task ended meanwhile; it was rolled back.
        """
        with interruption.holding():
            async with self._tenant_transaction(_tenant_of_caller()) as transaction:
                yield transaction

    @asynccontextmanager
    async def _tenant_transaction(self, tenant_id: UUID) -> AsyncIterator[Transaction]:
        events: list[Any] = []
        jobs: list[Any] = []
        outdated: list[str] = []
        try:
            async with (
                self._places.one_for(tenant_id),
                connected(self._engine, _begin_writing(tenant_id)) as connection,
            ):
                transaction = Transaction(connection, tenant_id, outdated=outdated)
                yield transaction
                if (rehearsed := rehearsal.current()) is not None:
                    await take_back(connection)
                    rehearsed.events.extend(transaction.pending_events)
                    outdated.clear()
                    return
                if transaction.pending_jobs:
                    jobs = await self._store_jobs(transaction)
                if transaction.pending_events and self._write_events:
                    events = await self._write_events(transaction)
                await self._commit(connection)
        finally:
            # After an error as well: a commit whose outcome is unknown may have happened.
            if outdated and self._flush:
                await self._flush(tenant_id, outdated)
        if events and self._ring:
            self._ring(events)
        if jobs and self._wake:
            self._wake(jobs)

    async def _store_jobs(self, transaction: Transaction) -> list[Any]:
        if self._write_jobs is None:
            raise RuntimeError(
                "this database was opened without write_jobs: the jobs would be lost"
            )
        return await self._write_jobs(transaction)

    async def _commit(self, connection: AsyncConnection) -> None:
        held_locks.refuse_if_lost()
        if self._service and consistency.collecting():
            consistency.wrote({self._service: await commit_with_position(connection)})
        else:
            await commit(connection)

    @asynccontextmanager
    async def read_transaction(self, *, fresh: bool = False) -> AsyncIterator[Transaction]:
        """A read-only transaction for the caller's tenant. What it reads never decides a write.

        A replica may answer what a client reads (`consistency.reading`), unless it is to be fresh:
        then, and for all else, the primary answers.

        Raises:
            ReplicaFailed: a replica broke off; the same read on the primary may well succeed.
        """
        with interruption.holding():
            async with self._read_transaction(_tenant_of_caller(), fresh=fresh) as transaction:
                yield transaction

    @asynccontextmanager
    async def _read_transaction(
        self, tenant_id: UUID, *, fresh: bool
    ) -> AsyncIterator[Transaction]:
        reading = None if fresh else consistency.current_reading()
        if reading is not None:
            begin = _begin_for(tenant_id, "BEGIN READ ONLY")
            async with self._replicas.connected(reading, self._service, begin) as replica:
                if replica is not None:
                    yield Transaction(replica, tenant_id)
                    return
        async with (
            self._places.one_for(tenant_id),
            connected(self._engine, _begin_for(tenant_id, "BEGIN READ ONLY")) as connection,
        ):
            yield Transaction(connection, tenant_id)
            await commit(connection)

    @asynccontextmanager
    async def system_transaction(self, reason: str) -> AsyncIterator[AsyncConnection]:
        """A transaction over all tenants, for the system's own bookkeeping.

        Every use is counted by its reason. The log says once of each process and reason that there
        is one; of the rest, most of which looks for work every second, at level debug.

        Raises:
            PermissionError: this service was not set up to look past tenants for this reason.
        """
        if reason not in self._system_reasons or self._system_engine is None:
            raise PermissionError(f"no system transaction for {reason!r} in this service")
        _PAST_TENANTS.labels(self._service, reason).inc()
        first = reason not in self._told_reasons
        self._told_reasons.add(reason)
        (log.info if first else log.debug)("system transaction", reason=reason)
        begin = f"BEGIN; {origin.opening()}; {_limits()}"
        with interruption.holding():
            async with connected(self._system_engine, begin) as connection:
                yield connection
                await (take_back if rehearsal.current() else commit)(connection)

    async def run(self, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """Run `work` in a tenant transaction, again from the start when others got in its way.

        Repeated at most five times, with full jitter, on serialization failures, deadlocks and lock
        timeouts: these
        roll everything back, so `work` may be anything whose only effects are in the transaction.
        A request that carries an idempotency key has its answer kept in the same transaction.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self.tenant_transaction() as tx:
                    return await once(tx, work)
            except TooBusy:
                if attempt == _ATTEMPTS:
                    raise
                _RETRIES.inc()
                await asyncio.sleep(random.uniform(0, 0.01 * 2**attempt))  # noqa: S311 (jitter, not a secret)
        raise AssertionError("unreachable")

    async def read(self, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """Run `work`, which only reads, in a read transaction."""
        async with self.read_transaction() as tx:
            return await work(tx)

    async def ping(self) -> None:
        """Return when the database answers.

        Raises:
            Unavailable: it does not.
        """
        async with connected(self._engine, "BEGIN READ ONLY") as connection:
            await commit(connection)

    async def _value(self, question: str) -> int:
        async with connected(self._engine, "BEGIN READ ONLY") as connection:
            cursor = await command(connection, question)
            answer = int((await cursor.fetchone())[0])
            await commit(connection)
        return answer

    async def close(self) -> None:
        """Close all connections."""
        await self._replicas.close()
        await self._engine.dispose()
        if self._system_engine:
            await self._system_engine.dispose()


def habits_of(settings: Settings) -> Habits:
    """How the settings want connections to be kept."""
    return Habits(settings.db_timeout_seconds, settings.db_persistent, settings.prepared_statements)


@contextmanager
def translating(constraints: Mapping[str, DomainError]) -> Iterator[None]:
    """Turn the violation of a named constraint into the error of the rule that it stands for."""
    try:
        yield
    except IntegrityError as error:
        rule = constraints.get(constraint_of(error) or "")
        if rule is None:
            raise
        raise rule from error


def constraint_of(error: DBAPIError) -> str | None:
    """The name of the constraint that a statement violated."""
    original = error.orig
    return original.diag.constraint_name if isinstance(original, psycopg.Error) else None


def _tenant_of_caller() -> UUID:
    tenant_id = caller.current().tenant_id
    if tenant_id is None:
        raise Unauthenticated("The caller stands for no tenant.")
    return tenant_id


def _begin_for(tenant_id: UUID, begin: str) -> str:
    return f"{begin}; SET LOCAL erp.tenant_id = '{tenant_id}'; {_limits()}"


def _begin_writing(tenant_id: UUID) -> str:
    return f"{_begin_for(tenant_id, 'BEGIN')}; {origin.opening()}"


def _limits() -> str:
    # The database keeps the time, so that nobody has to cancel a task that holds a connection.
    milliseconds = max(1, int(min(deadline.remaining(10.0), LONGEST_TRANSACTION_SECONDS) * 1000))
    return (
        f"SET LOCAL statement_timeout = {milliseconds}; "
        f"SET LOCAL transaction_timeout = {milliseconds + 1000}; "
        f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds + 1000}"
    )
