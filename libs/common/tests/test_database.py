"""What a transaction promises."""

import asyncio
import gc
from contextlib import suppress
from uuid import UUID

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, ProgrammingError
from structlog.testing import capture_logs

from common import caller, deadline, ids
from common.caller import service_caller
from common.database import Database, translating
from common.deadline import DeadlineExceeded
from common.errors import NotFound, OutcomeUnknown, Unauthenticated
from common.testing import ServiceDatabase, as_user, rows_of

_INSERT = text("INSERT INTO notes (id, body) VALUES (:id, :body)")


async def write(database: Database, body: str) -> None:
    async with database.tenant_transaction() as tx:
        await tx.execute(_INSERT, {"id": ids.new(), "body": body})


async def bodies(database: Database) -> list[str]:
    async with database.read_transaction() as tx:
        return [row.body for row in await tx.rows(text("SELECT body FROM notes ORDER BY body"))]


async def test_what_is_written_is_there_when_the_transaction_is_left(
    database: Database, tenant: UUID
) -> None:
    with as_user(tenant):
        await write(database, "kept")

        assert await bodies(database) == ["kept"]


async def test_an_exception_rolls_everything_back(database: Database, tenant: UUID) -> None:
    with as_user(tenant):
        with pytest.raises(LookupError):
            async with database.tenant_transaction() as tx:
                await tx.execute(_INSERT, {"id": ids.new(), "body": "lost"})
                raise LookupError

        assert await bodies(database) == []


async def test_a_tenant_sees_only_its_own_rows(database: Database, tenant: UUID) -> None:
    with as_user(tenant):
        await write(database, "mine")

    with as_user(ids.new()):
        assert await bodies(database) == []


async def test_a_row_cannot_be_written_for_another_tenant(database: Database, tenant: UUID) -> None:
    smuggle = text("INSERT INTO notes (tenant_id, id, body) VALUES (:other, :id, 'smuggled')")

    with as_user(tenant), pytest.raises(ProgrammingError, match="row-level security"):
        async with database.tenant_transaction() as tx:
            await tx.execute(smuggle, {"other": ids.new(), "id": ids.new()})


async def test_a_forgotten_tenant_is_an_error(scratch: ServiceDatabase, database: Database) -> None:
    with pytest.raises(Unauthenticated):
        await bodies(database)
    with caller.acting_as(service_caller("notes", None)), pytest.raises(Unauthenticated):
        await bodies(database)


async def test_looking_past_tenants_needs_a_declared_reason(database: Database) -> None:
    with pytest.raises(PermissionError):
        async with database.system_transaction("curiosity"):
            pass


async def test_the_log_tells_once_of_each_reason_to_look_past_tenants(
    scratch: ServiceDatabase,
) -> None:
    reasons = ("news", "figures")
    database = Database(scratch.app, scratch.system, system_reasons=frozenset(reasons))

    with capture_logs() as told:
        for reason in (*reasons, "news"):
            async with database.system_transaction(reason):
                pass

    assert [(line["reason"], line["log_level"]) for line in told] == [
        ("news", "info"),
        ("figures", "info"),
        ("news", "debug"),
    ]
    counted = {"service": "", "reason": "news"}
    assert REGISTRY.get_sample_value("kv_erp_system_transactions_total", counted) == 2
    await database.close()


async def test_a_swallowed_error_cannot_pass_for_a_commit(database: Database, tenant: UUID) -> None:
    with as_user(tenant), pytest.raises(RuntimeError, match="swallowed"):
        async with database.tenant_transaction() as tx:
            with suppress(Exception):
                await tx.execute(text("SELECT 1 / 0"))


async def test_a_named_constraint_becomes_the_error_of_its_rule(
    database: Database, tenant: UUID
) -> None:
    with as_user(tenant):
        await write(database, "once")
        with pytest.raises(NotFound):
            async with database.tenant_transaction() as tx:
                with translating({"notes_body_key": NotFound("free body", "once")}):
                    await tx.execute(_INSERT, {"id": ids.new(), "body": "once"})
        with pytest.raises(IntegrityError):
            await write(database, "once")


async def test_killed_pooled_connections_are_replaced_unnoticed_and_closed(
    scratch: ServiceDatabase, database: Database, tenant: UUID
) -> None:
    with as_user(tenant):
        await asyncio.gather(*(bodies(database) for _ in range(4)))
        await write(database, "before")
        rows_of(
            scratch.operator,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'scratch_app'",
        )

        await write(database, "behind")

        assert await bodies(database) == ["before", "behind"]
    # Whatever is left to the garbage collector while still open is a warning, hence an error.
    gc.collect()


async def test_a_connection_lost_in_the_commit_leaves_the_outcome_unknown(
    scratch: ServiceDatabase, database: Database, tenant: UUID
) -> None:
    mine = text("SELECT pg_backend_pid()")

    with as_user(tenant), pytest.raises(OutcomeUnknown):
        async with database.tenant_transaction() as tx:
            await tx.execute(_INSERT, {"id": ids.new(), "body": "perhaps"})
            pid = await tx.scalar(mine)
            rows_of(scratch.operator, "SELECT pg_terminate_backend(%s)", pid)


async def test_deadlocked_work_is_run_again_until_both_are_done(
    database: Database, tenant: UUID
) -> None:
    change = text("UPDATE notes SET version = version + 1 WHERE body = :body")

    async def both(first: str, second: str) -> None:
        async def work(tx):  # type: ignore[no-untyped-def]
            await tx.execute(change, {"body": first})
            await tx.execute(text("SELECT pg_sleep(0.05)"))
            await tx.execute(change, {"body": second})

        with as_user(tenant):
            await database.run(work)

    with as_user(tenant):
        await write(database, "a")
        await write(database, "b")
        await asyncio.gather(both("a", "b"), both("b", "a"))
        async with database.read_transaction() as tx:
            versions = [row.version for row in await tx.rows(text("SELECT version FROM notes"))]

    assert versions == [3, 3]


async def test_the_database_itself_ends_a_statement_at_the_deadline(
    database: Database, tenant: UUID
) -> None:
    with as_user(tenant), deadline.within(0.1), pytest.raises(DeadlineExceeded):
        async with database.tenant_transaction() as tx:
            await tx.execute(text("SELECT pg_sleep(5)"))
