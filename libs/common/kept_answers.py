"""The table of answers that are kept for requests which come again."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import text

from common.schema import protect
from common.transaction import Transaction


class Name(NamedTuple):
    """What a caller calls a request: the same for a request and its repetition."""

    principal: str
    # Full path of the rpc.
    method: str
    key: str


class Kept(NamedTuple):
    """What is known under a name."""

    # Whether the name is now this transaction's, until it ends.
    claimed: bool
    # None when there is no answer yet.
    request_hash: bytes | None
    response: bytes | None


IDEMPOTENCY_KEYS = """
    CREATE TABLE idempotency_keys (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        principal text NOT NULL,
        method text NOT NULL,
        key text NOT NULL,
        request_hash bytea NOT NULL,
        response bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, principal, method, key, created_at)
    ) PARTITION BY RANGE (created_at);

    -- Two statements, and locks that are let go of after the commit can be seen: whoever gets the
    -- lock sees the answer of the twin that had it before.
    CREATE FUNCTION claim_idempotency_keys(principals text[], methods text[], keys text[])
    RETURNS TABLE (place bigint, claimed boolean, request_hash bytea, response bytea)
    LANGUAGE plpgsql VOLATILE AS $$
    #variable_conflict use_column
    DECLARE
        mine CONSTANT uuid := current_setting('erp.tenant_id')::uuid;
        got boolean[];
    BEGIN
        got := ARRAY(
            SELECT pg_try_advisory_xact_lock(hashtextextended(
                concat_ws(chr(31), mine, item.principal, item.method, item.key), 7))
            FROM unnest(principals, methods, keys)
                 WITH ORDINALITY AS item (principal, method, key, place)
            ORDER BY item.place);
        RETURN QUERY
            SELECT wanted.place, got[wanted.place], kept.request_hash, kept.response
            FROM unnest(principals, methods, keys)
                 WITH ORDINALITY AS wanted (principal, method, key, place)
            LEFT JOIN idempotency_keys AS kept
                ON kept.tenant_id = mine AND kept.principal = wanted.principal
               AND kept.method = wanted.method AND kept.key = wanted.key
               AND kept.created_at
                   BETWEEN now() - interval '48 hours' AND now() + interval '1 hour';
    END $$;
"""

# Answers may be forgotten after 48 hours, so older partitions are not looked into.
_RECALL = text("""
    SELECT false AS claimed, kept.request_hash, kept.response
    FROM unnest(CAST(:principals AS text[]), CAST(:methods AS text[]), CAST(:keys AS text[]))
         WITH ORDINALITY AS wanted (principal, method, key, place)
    LEFT JOIN idempotency_keys AS kept
        ON kept.tenant_id = :tenant_id AND kept.principal = wanted.principal
       AND kept.method = wanted.method AND kept.key = wanted.key
       AND kept.created_at BETWEEN now() - interval '48 hours' AND now() + interval '1 hour'
    ORDER BY wanted.place
""")
_CLAIM = text("""
    SELECT claimed, request_hash, response FROM claim_idempotency_keys(
        CAST(:principals AS text[]), CAST(:methods AS text[]), CAST(:keys AS text[]))
    ORDER BY place
""")
_KEEP = text("""
    INSERT INTO idempotency_keys (principal, method, key, request_hash, response)
    SELECT * FROM unnest(CAST(:principals AS text[]), CAST(:methods AS text[]),
                         CAST(:keys AS text[]), CAST(:hashes AS bytea[]), CAST(:answers AS bytea[]))
""")
_BELONG_TO = text("SELECT set_config('erp.tenant_id', :tenant_id, true)")


@asynccontextmanager
async def of_tenant(tx: Transaction, tenant_id: UUID | None) -> AsyncIterator[None]:
    """Keep and find answers inside for the tenant whose caller asks.

    An operator's request has its effect in another tenant, in the same transaction: there the
    tenant is changed for the answer, and back for the effect.
    """
    if tenant_id is None or tenant_id == tx.tenant_id:
        yield
        return
    await tx.execute(_BELONG_TO, {"tenant_id": str(tenant_id)})
    # Where what is inside fails, the transaction does.
    yield
    await tx.execute(_BELONG_TO, {"tenant_id": str(tx.tenant_id)})


async def recall(tx: Transaction, names: Sequence[Name]) -> list[Kept]:
    """What is known under these names, in their order, claiming none."""
    rows = await tx.rows(_RECALL, {"tenant_id": tx.tenant_id, **_columns(names)})
    return [Kept(row.claimed, row.request_hash, row.response) for row in rows]


async def claim(tx: Transaction, names: Sequence[Name]) -> list[Kept]:
    """Make these names this transaction's own, and tell what is known under them.

    A name that another transaction has claimed and not let go of is not waited for.
    """
    rows = await tx.rows(_CLAIM, _columns(names))
    return [Kept(row.claimed, row.request_hash, row.response) for row in rows]


async def keep(tx: Transaction, answers: Sequence[tuple[Name, bytes, bytes]]) -> None:
    """Keep the answers (name, request hash, response) to requests whose names are claimed."""
    names = [name for name, _, _ in answers]
    hashes, responses = [item[1] for item in answers], [item[2] for item in answers]
    await tx.execute(_KEEP, {**_columns(names), "hashes": hashes, "answers": responses})


def _columns(names: Sequence[Name]) -> dict[str, list[str]]:
    return {
        "principals": [name.principal for name in names],
        "methods": [name.method for name in names],
        "keys": [name.key for name in names],
    }


def idempotency_keys(service: str) -> str:
    """SQL that creates and protects the table, and the function that claims names in it."""
    return IDEMPOTENCY_KEYS + protect(service, "idempotency_keys", append_only=True)
