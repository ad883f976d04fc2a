"""Transactions that belong to a tenant, and the one explicit way past that."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import structlog
from google.protobuf.message import Message
from sqlalchemy import CursorResult, Executable, Row
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from common import caller, deadline, held_locks
from common.deadline import DeadlineExceeded
from common.errors import (
    DomainError,
    InvalidRequest,
    OutcomeUnknown,
    StatusCode,
    Unauthenticated,
    Unavailable,
)

# No transaction may outlive this, so whoever looks back further sees all that was going on
# (event_log.Heads).
LONGEST_TRANSACTION_SECONDS = 30.0
_RETRIED = frozenset(
    {"40001", "40P01", "55P03"}
)  # serialization failure, deadlock, lock not available
_TIMED_OUT = frozenset(
    {"57014", "25P03", "25P04"}
)  # statement, idle-in-transaction, transaction timeout
_ATTEMPTS = 5

Result = TypeVar("Result")
Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]

log = structlog.get_logger()


@dataclass(eq=False)
class TooBusy(DomainError):
    """Others held the same rows for too long; nothing was done: 409, worth repeating."""

    status = StatusCode.ABORTED
    detail = "Others are changing the same records. Try again."
    retry_after_seconds = 0.2


@dataclass(frozen=True)
class PendingEvent:
    """An event that becomes real with its transaction."""

    subject: str
    message: Message
    request_id: str


@dataclass
class Transaction:
    """One open transaction. A function that takes it joins it; nobody commits but who opened it."""

    connection: AsyncConnection
    tenant_id: UUID
    # Written by outbox.publish; numbered and stored as the transaction's last write.
    pending_events: list[PendingEvent] = field(default_factory=list)

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        """Run one statement."""
        return await self.connection.execute(statement, parameters)

    async def rows(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Sequence[Row[Any]]:
        """All rows of a statement."""
        return (await self.execute(statement, parameters)).all()

    async def row(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Row[Any] | None:
        """The only row of a statement, or None."""
        return (await self.execute(statement, parameters)).one_or_none()

    async def scalar(self, statement: Executable, parameters: Parameters | None = None) -> Any:
        """The first column of the only row, or None."""
        return (await self.execute(statement, parameters)).scalar_one_or_none()


# Stores a transaction's events; returns what the doorbell rings with after the commit.
WriteEvents = Callable[[Transaction], Awaitable[list[Any]]]
RingDoorbell = Callable[[list[Any]], None]


class Database:
    """One service's database.

    Args:
        url: the application role's URL; the role owns nothing and sees one tenant at a time.
        system_url: the system role's URL, which sees all tenants.
        system_reasons: what `system_transaction` may be used for in this service.
        write_events: stores the events of a transaction before it commits.
        ring: told of the stored events after the commit; must not block.
        pool_size: most connections of the application role that this process opens.
    """

    def __init__(
        self,
        url: str,
        system_url: str | None = None,
        *,
        system_reasons: frozenset[str] = frozenset(),
        write_events: WriteEvents | None = None,
        ring: RingDoorbell | None = None,
        pool_size: int = 8,
    ) -> None:
        self._engine = _engine(url, pool_size)
        self._system_engine = _engine(system_url, 2) if system_url else None
        self._system_reasons = system_reasons
        self._write_events = write_events
        self._ring = ring

    @asynccontextmanager
    async def tenant_transaction(self) -> AsyncIterator[Transaction]:
        """A transaction for the caller's tenant: commits when left, rolls back on an exception.

        Raises:
            Unauthenticated: there is no caller, or the caller stands for no tenant.
            Unavailable: the database cannot be reached; nothing was done.
            OutcomeUnknown: the connection broke during the commit.
            LockLost: a lock of this task ended meanwhile; it was rolled back.
        """
        begin = f"BEGIN; SET LOCAL erp.tenant_id = '{_tenant_of_caller()}'; {_limits()}"
        events: list[Any] = []
        async with _connection(self._engine, begin) as connection:
            transaction = Transaction(connection, _tenant_of_caller())
            yield transaction
            if transaction.pending_events and self._write_events:
                events = await self._write_events(transaction)
            held_locks.refuse_if_lost()
            await _commit(connection)
        if events and self._ring:
            self._ring(events)

    @asynccontextmanager
    async def read_transaction(self) -> AsyncIterator[Transaction]:
        """A read-only transaction for the caller's tenant. What it reads never decides a write."""
        begin = f"BEGIN READ ONLY; SET LOCAL erp.tenant_id = '{_tenant_of_caller()}'; {_limits()}"
        async with _connection(self._engine, begin) as connection:
            yield Transaction(connection, _tenant_of_caller())
            await _commit(connection)

    @asynccontextmanager
    async def system_transaction(self, reason: str) -> AsyncIterator[AsyncConnection]:
        """A transaction over all tenants, for the system's own bookkeeping. Every use is logged.

        Raises:
            PermissionError: this service was not set up to look past tenants for this reason.
        """
        if reason not in self._system_reasons or self._system_engine is None:
            raise PermissionError(f"no system transaction for {reason!r} in this service")
        log.debug("system transaction", reason=reason)
        async with _connection(self._system_engine, f"BEGIN; {_limits()}") as connection:
            yield connection
            await _commit(connection)

    async def run(self, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
        """Run `work` in a tenant transaction, again from the start when others got in its way.

        Repeated at most five times, with full jitter, on serialization failures, deadlocks and lock
        timeouts: these
        roll everything back, so `work` may be anything whose only effects are in the transaction.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                async with self.tenant_transaction() as tx:
                    return await work(tx)
            except TooBusy:
                if attempt == _ATTEMPTS:
                    raise
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
        async with _connection(self._engine, "BEGIN READ ONLY") as connection:
            await _commit(connection)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()
        if self._system_engine:
            await self._system_engine.dispose()


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


def _engine(url: str, pool_size: int) -> AsyncEngine:
    # AUTOCOMMIT: BEGIN and COMMIT are ours, so that BEGIN travels together with the tenant and the
    # time limits.
    return create_async_engine(
        make_url(url).set(drivername="postgresql+psycopg"),
        isolation_level="AUTOCOMMIT",
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        connect_args={"connect_timeout": 3, "application_name": "kv-erp"},
    )


@asynccontextmanager
async def _connection(engine: AsyncEngine, begin: str) -> AsyncIterator[AsyncConnection]:
    """A connection with an open transaction, rolled back unless it was committed inside."""
    with _translated():
        connection = await _begin(engine, begin)
        try:
            yield connection
        except BaseException:
            await _roll_back(connection)
            raise
        finally:
            await connection.close()


async def _begin(engine: AsyncEngine, begin: str) -> AsyncConnection:
    # A pooled connection may have died with its server. Nothing has happened on it yet, so a fresh
    # one is as good.
    for retry in (True, False):
        connection = await engine.connect()
        try:
            await _command(connection, begin)
        except psycopg.OperationalError:
            await connection.invalidate()
            await connection.close()
            if not retry:
                raise
            await engine.dispose(close=False)
        except BaseException:
            await connection.invalidate()
            await connection.close()
            raise
        else:
            return connection
    raise AssertionError("unreachable")


async def _commit(connection: AsyncConnection) -> None:
    try:
        outcome = await _command(connection, "COMMIT")
    except psycopg.OperationalError as error:
        raise OutcomeUnknown from error
    if outcome != "COMMIT":
        # Postgres answers COMMIT of a failed transaction with ROLLBACK and no error: somebody
        # swallowed an exception.
        raise RuntimeError("a statement of this transaction failed and its error was swallowed")


async def _roll_back(connection: AsyncConnection) -> None:
    try:
        await _command(connection, "ROLLBACK")
    except BaseException:  # noqa: BLE001 (whatever broke, the connection must not go back to the pool)
        await connection.invalidate()


async def _command(connection: AsyncConnection, sql: str) -> str | None:
    """Run statements without parameters in one round trip."""
    # Past SQLAlchemy, which cannot tell psycopg not to prepare what holds several statements.
    driver: psycopg.AsyncConnection[Any] = (await connection.get_raw_connection()).driver_connection  # type: ignore[assignment]
    cursor = await driver.execute(sql.encode(), prepare=False)
    return cursor.statusmessage


@contextmanager
def _translated() -> Iterator[None]:
    """Turn what the database says into what a caller can act on."""
    try:
        yield
    except PoolTimeoutError as error:
        raise Unavailable("The database") from error
    except DBAPIError as error:
        raise _meaning(error.orig, error) from error
    except psycopg.Error as error:
        raise _meaning(error, error) from error


def _meaning(original: object, error: Exception) -> Exception:
    state = getattr(original, "sqlstate", None)
    if state in _RETRIED:
        return TooBusy()
    if state in _TIMED_OUT:
        return DeadlineExceeded("The database")
    if isinstance(original, psycopg.OperationalError):
        return Unavailable("The database")
    if isinstance(original, psycopg.DataError) and state is None:
        # The driver itself refuses text that PostgreSQL cannot store.
        return InvalidRequest.of("", "must not contain a NUL character")
    return error


def _tenant_of_caller() -> UUID:
    tenant_id = caller.current().tenant_id
    if tenant_id is None:
        raise Unauthenticated("The caller stands for no tenant.")
    return tenant_id


def _limits() -> str:
    # The database keeps the time, so that nobody has to cancel a task that holds a connection.
    milliseconds = max(1, int(min(deadline.remaining(10.0), LONGEST_TRANSACTION_SECONDS) * 1000))
    return (
        f"SET LOCAL statement_timeout = {milliseconds}; "
        f"SET LOCAL transaction_timeout = {milliseconds + 1000}; "
        f"SET LOCAL idle_in_transaction_session_timeout = {milliseconds + 1000}"
    )
