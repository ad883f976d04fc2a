"""Connections to PostgreSQL: opening and ending a transaction on one, in one round trip each."""

import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from prometheus_client import Counter, Histogram
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from common import pool_metrics
from common.database_urls import driver_url
from common.deadline import DeadlineExceeded
from common.errors import DomainError, InvalidRequest, OutcomeUnknown, StatusCode, Unavailable

__all__ = [
    "USUAL",
    "Habits",
    "TooBusy",
    "begin",
    "command",
    "commit",
    "commit_with_position",
    "connected",
    "meaning_of",
    "open_engine",
    "roll_back",
    "take_back",
    "translated",
]

_RETRIED = frozenset(
    {"40001", "40P01", "55P03"}
)  # serialization failure, deadlock, lock not available
_TIMED_OUT = frozenset(
    {"57014", "25P03", "25P04"}
)  # statement, idle-in-transaction, transaction timeout

_WAITED = Histogram(
    "kv_erp_database_wait_seconds",
    "Time until a transaction had its connection, an open one or a new one.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5),
)
_ERRORS = Counter(
    "kv_erp_database_errors_total",
    "What the database refused: busy, timeout, away or outcome_unknown.",
    ["kind"],
)
_BUSY, _TIMEOUT, _AWAY, _UNKNOWN = map(
    _ERRORS.labels, ("busy", "timeout", "away", "outcome_unknown")
)


_READ_ONLY = "25006"
# A server that is cut off sends nothing: seen in seconds instead of the hours of the system.
_HALF_OPEN = {
    "keepalives_idle": 5,
    "keepalives_interval": 2,
    "keepalives_count": 2,
    "tcp_user_timeout": 10_000,
}


@dataclass(eq=False)
class TooBusy(DomainError):
    """Others held the same rows for too long; nothing was done: 409, worth repeating."""

    status = StatusCode.ABORTED
    detail = "Others are changing the same records. Try again."
    retry_after_seconds = 0.2


@dataclass(frozen=True)
class Habits:
    """How connections are kept.

    Attributes:
        connect_seconds: how long one may take to open.
        kept: whether they wait for the next transaction, or are each opened for one.
        prepared: whether the database remembers what comes often. psycopg asks for that by itself.
    """

    connect_seconds: int = 3
    kept: bool = True
    prepared: bool = True


USUAL = Habits()


def open_engine(
    url: str | URL,
    pool_size: int,
    *,
    pool_seconds: float = 5,
    habits: Habits = USUAL,
    name: str = "app",
) -> AsyncEngine:
    """A pool of connections in which BEGIN and COMMIT are ours.

    Args:
        url: where to connect.
        pool_size: most connections.
        pool_seconds: how long to wait for a free one.
        habits: how they are kept.
        name: of the pool, in metrics.
    """
    arguments: dict[str, Any] = {
        "connect_timeout": habits.connect_seconds,
        "application_name": "kv-erp",
        **_HALF_OPEN,
    }
    if not habits.prepared:
        arguments["prepare_threshold"] = None
    pool: dict[str, Any] = {"poolclass": NullPool}
    if habits.kept:
        pool = {"pool_size": pool_size, "max_overflow": 0, "pool_timeout": pool_seconds}
    # AUTOCOMMIT: so that BEGIN travels together with the tenant and the time limits.
    engine = create_async_engine(
        driver_url(url),
        isolation_level="AUTOCOMMIT",
        # Its errors are logged, and hold no hashes of passwords.
        hide_parameters=True,
        connect_args=arguments,
        **pool,
    )
    pool_metrics.watch(engine.sync_engine, name)
    return engine


@asynccontextmanager
async def connected(engine: AsyncEngine, opening: str) -> AsyncIterator[AsyncConnection]:
    """A connection with an open transaction, rolled back unless it was committed inside."""
    with translated():
        connection = await begin(engine, opening)
        try:
            yield connection
        except BaseException as error:
            await roll_back(connection)
            if _is_demoted(error, opening):
                await connection.invalidate()
                raise Unavailable("The database") from error
            raise
        finally:
            await connection.close()


def _is_demoted(error: BaseException, opening: str) -> bool:
    """Whether a transaction that may write met a server that is the primary no more."""
    original = error.orig if isinstance(error, DBAPIError) else error
    return getattr(original, "sqlstate", None) == _READ_ONLY and "READ ONLY" not in opening


async def begin(engine: AsyncEngine, opening: str) -> AsyncConnection:
    """A connection on which the opening statements, BEGIN first, have been run."""
    # A pooled connection may have died with its server. Nothing has happened on it yet, so a fresh
    # one is as good.
    for retry in (True, False):
        asked = time.perf_counter()
        connection = await engine.connect()
        _WAITED.observe(time.perf_counter() - asked)
        try:
            await command(connection, opening)
        except psycopg.OperationalError:
            await connection.invalidate()
            await connection.close()
            if not retry:
                raise
            await engine.dispose()
        except BaseException:
            await connection.invalidate()
            await connection.close()
            raise
        else:
            return connection
    raise AssertionError("unreachable")


async def commit(connection: AsyncConnection) -> None:
    """End the transaction, its effects kept.

    Raises:
        OutcomeUnknown: the connection broke meanwhile, or its wait for a replica was cancelled.
    """
    await _commit(connection, "COMMIT")


async def commit_with_position(connection: AsyncConnection) -> int:
    """End the transaction as `commit` does; the position of the log by which it has happened."""
    # Asked in the same message and after the commit: what is inserted by now includes its record.
    cursor = await _commit(connection, "COMMIT; SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
    cursor.nextset()
    row = await cursor.fetchone()
    return int(row[0])


async def _commit(connection: AsyncConnection, sql: str) -> Any:
    try:
        cursor, warned = await _warned(connection, sql)
    except psycopg.OperationalError as error:
        _UNKNOWN.inc()
        raise OutcomeUnknown from error
    if warned:
        # Cancelled while it waited for a replica: committed here, and lost if this server is.
        raise OutcomeUnknown
    if cursor.statusmessage != "COMMIT":
        # Postgres answers COMMIT of a failed transaction with ROLLBACK and no error: somebody
        # swallowed an exception.
        raise RuntimeError("a statement of this transaction failed and its error was swallowed")
    return cursor


async def _warned(connection: AsyncConnection, sql: str) -> tuple[Any, bool]:
    """The cursor of a COMMIT, and whether PostgreSQL took back a part of its promise."""
    driver: psycopg.AsyncConnection[Any] = (await connection.get_raw_connection()).driver_connection  # type: ignore[assignment]
    warnings: list[str | None] = []

    def note(said: psycopg.errors.Diagnostic) -> None:
        if said.severity_nonlocalized == "WARNING":
            warnings.append(said.message_primary)

    driver.add_notice_handler(note)
    try:
        return await driver.execute(sql.encode(), prepare=False), bool(warnings)
    finally:
        driver.remove_notice_handler(note)


async def roll_back(connection: AsyncConnection) -> None:
    """End the transaction without effect. Whatever breaks, it does not come back to the pool."""
    try:
        await command(connection, "ROLLBACK")
    except BaseException:  # noqa: BLE001 (whatever broke, the connection must not go back to the pool)
        await connection.invalidate()


async def take_back(connection: AsyncConnection) -> None:
    """End the transaction without effect, after the checks that a commit would have made."""
    await command(connection, "SET CONSTRAINTS ALL IMMEDIATE; ROLLBACK")


async def command(connection: AsyncConnection, sql: str) -> Any:
    """The cursor of statements without parameters that ran in one round trip."""
    # Past SQLAlchemy, which cannot tell psycopg not to prepare what holds several statements.
    driver: psycopg.AsyncConnection[Any] = (await connection.get_raw_connection()).driver_connection  # type: ignore[assignment]
    return await driver.execute(sql.encode(), prepare=False)


@contextmanager
def translated() -> Iterator[None]:
    """Turn what the database says into what a caller can act on."""
    try:
        yield
    except (PoolTimeoutError, DBAPIError, psycopg.Error) as error:
        meaning = meaning_of(error)
        _count(meaning)
        raise meaning from error


def _count(meaning: Exception) -> None:
    if isinstance(meaning, TooBusy):
        _BUSY.inc()
    elif isinstance(meaning, DeadlineExceeded):
        _TIMEOUT.inc()
    elif isinstance(meaning, Unavailable):
        _AWAY.inc()


def meaning_of(error: Exception) -> Exception:
    """What an error of the database or its driver means to a caller; itself when it is a fault."""
    original = error.orig if isinstance(error, DBAPIError) else error
    state = getattr(original, "sqlstate", None)
    if state in _RETRIED:
        return TooBusy()
    if state in _TIMED_OUT:
        return DeadlineExceeded("The database")
    if isinstance(original, (psycopg.OperationalError, PoolTimeoutError)):
        return Unavailable("The database")
    if isinstance(original, psycopg.DataError) and state is None:
        # The driver itself refuses text that PostgreSQL cannot store.
        return InvalidRequest.of("", "must not contain a NUL character")
    return error
