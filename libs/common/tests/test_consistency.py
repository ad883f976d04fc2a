"""What a token says, and what it cannot be made to say."""

import asyncio
import base64
from uuid import UUID

import pytest
from sqlalchemy import text

from common import consistency
from common.caller import service_caller
from common.consistency import Reading, merge_tokens, parse_token, strictest, write_token
from common.database import Database, Transaction
from common.group_commit import GroupCommit
from common.testing import ServiceDatabase, as_user, rows_of

_INSERT = text("INSERT INTO notes (id, body) VALUES (:id, :body)")


def test_a_token_says_again_what_it_was_made_of() -> None:
    positions = {"sales": 0x16B3748, "inventory": 2**64 - 1}

    assert parse_token(write_token(positions)) == positions
    assert parse_token("") == {}


def test_merging_keeps_the_newest_of_each_service() -> None:
    merged = merge_tokens(write_token({"a": 5, "b": 1}), write_token({"a": 3, "c": 2}), "")

    assert parse_token(merged) == {"a": 5, "b": 1, "c": 2}


@pytest.mark.parametrize(
    "token",
    [
        "nonsense",
        "%%%",
        "é",
        "A" * 2000,
        base64.b64encode(b"sales").decode(),
        base64.b64encode(b"sales=-1").decode(),
        base64.b64encode(b"sales=11112222333344445").decode(),
        base64.b64encode(b"SALES=1").decode(),
        base64.b64encode(",".join(f"s{n}=1" for n in range(17)).encode()).decode(),
    ],
)
def test_what_is_no_token_is_refused(token: str) -> None:
    with pytest.raises(ValueError, match="token"):
        parse_token(token)


def test_a_group_that_has_one_fresh_reader_reads_from_the_primary() -> None:
    tokens = [Reading({"a": 1}), Reading({"a": 4, "b": 2})]

    together = strictest(tokens)

    assert together is not None
    assert together.positions == {"a": 4, "b": 2}
    together.answered_by_replica()
    assert all(one.from_replica for one in tokens)
    assert strictest([*tokens, None]) is None


async def test_every_member_of_a_group_learns_how_far_its_commit_is(
    scratch: ServiceDatabase, tenant: UUID
) -> None:
    database = Database(scratch.app, service="notes")
    before = _inserted(scratch)

    async def decide(tx: Transaction, ids: list[UUID]) -> list[UUID]:
        for note in ids:
            await tx.execute(_INSERT, {"id": note, "body": str(note)})
        return ids

    group = GroupCommit[UUID, UUID](database, decide)

    async def write() -> int:
        written = consistency.collect()
        await group.run(UUID(int=id(written)))
        return written["notes"]

    with as_user(tenant):
        positions = await asyncio.gather(*(asyncio.create_task(write()) for _ in range(5)))
    await database.close()

    assert all(before < position <= _inserted(scratch) for position in positions)


async def test_work_that_answers_nobody_makes_no_token(
    scratch: ServiceDatabase, tenant: UUID
) -> None:
    database = Database(scratch.app, service="notes")
    with consistency.reading(None):
        with as_user(tenant):
            async with database.tenant_transaction():
                pass
        assert not consistency.collecting()
    await database.close()
    assert service_caller("notes", tenant).tenant_id == tenant


def _inserted(scratch: ServiceDatabase) -> int:
    [(position,)] = rows_of(scratch.operator, "SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
    return int(str(position))
