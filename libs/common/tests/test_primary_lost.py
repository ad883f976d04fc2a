"""What a client of PostgreSQL is told when replication or the primary fails it."""

import asyncio
from collections.abc import Iterator

import psycopg
import pytest
from sqlalchemy import text

from common.connections import commit, connected, open_engine
from common.errors import OutcomeUnknown, Unavailable
from ops.postgres import UNSYNCED, EmbeddedPostgres
from ops.tests.conditions import until_blocking


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPostgres]:
    with EmbeddedPostgres(
        tmp_path_factory.mktemp("alone") / "postgres", settings=UNSYNCED
    ) as postgres:
        yield postgres


def configure(postgres: EmbeddedPostgres, setting: str, value: str) -> None:
    with psycopg.connect(postgres.superuser_url, autocommit=True) as server:
        server.execute(f"ALTER SYSTEM SET {setting} = '{value}'")
        server.execute("SELECT pg_reload_conf()")


def cancel_what_waits_for_a_replica(postgres: EmbeddedPostgres) -> None:
    query = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    with psycopg.connect(postgres.superuser_url, autocommit=True) as server:
        until_blocking(lambda: server.execute(query).fetchone())


async def test_a_commit_that_no_replica_has_confirmed_is_not_promised(
    postgres: EmbeddedPostgres,
) -> None:
    configure(postgres, "synchronous_standby_names", "nobody")
    engine = open_engine(postgres.superuser_url, 1)

    cancelling = asyncio.to_thread(cancel_what_waits_for_a_replica, postgres)
    with pytest.raises(OutcomeUnknown):
        async with connected(engine, "BEGIN") as connection:
            await connection.execute(text("CREATE TABLE promised ()"))
            await asyncio.gather(commit(connection), cancelling)

    configure(postgres, "synchronous_standby_names", "")
    await engine.dispose()


async def test_a_write_on_a_server_that_is_the_primary_no_more_may_be_tried_elsewhere(
    postgres: EmbeddedPostgres,
) -> None:
    configure(postgres, "default_transaction_read_only", "on")
    engine = open_engine(postgres.superuser_url, 1)

    backend = text("SELECT pg_backend_pid()")
    with pytest.raises(Unavailable):
        async with connected(engine, "BEGIN") as connection:
            refusing = await connection.scalar(backend)
            await connection.execute(text("CREATE TABLE refused ()"))

    async with connected(engine, "BEGIN") as connection:
        assert await connection.scalar(backend) != refusing
    configure(postgres, "default_transaction_read_only", "off")
    await engine.dispose()
