"""Sessions in Postgres: the authority on which are alive."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from common.database import Transaction

__all__ = [
    "SESSIONS",
    "find_session",
    "insert_session",
    "list_sessions",
    "revoke_sessions",
]

# For the migration of the service that keeps sessions; `protect` it.
SESSIONS = """
    CREATE TABLE sessions (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL,
        hash bytea NOT NULL,
        user_id uuid NOT NULL,
        sealed bytea NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        last_seen_at timestamptz NOT NULL DEFAULT now(),
        ends_at timestamptz NOT NULL,
        revoked_at timestamptz,
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT sessions_hash UNIQUE (tenant_id, hash),
        CONSTRAINT sessions_hash_length CHECK (octet_length(hash) = 32)
    ) WITH (fillfactor = 80);
    CREATE INDEX sessions_user ON sessions (tenant_id, user_id);
"""

_INSERT = text("""
    INSERT INTO sessions (id, hash, user_id, sealed, ends_at)
    VALUES (:id, :hash, :user_id, :sealed, :ends_at)
""")
# Nobody else removes rows, and a user who comes back finds those that are over.
_CLEAN = text("DELETE FROM sessions WHERE user_id = :user_id AND ends_at < :now")
_FIND = text("""
    SELECT id, user_id, sealed, created_at, last_seen_at, ends_at FROM sessions
    WHERE hash = :hash AND revoked_at IS NULL AND ends_at > now() AND last_seen_at > :idle_since
""")
_SEEN = text("UPDATE sessions SET last_seen_at = now() WHERE id = :id")
_LIST = text("""
    SELECT id, user_id, hash, sealed, created_at, last_seen_at, ends_at FROM sessions
    WHERE user_id = :user_id AND revoked_at IS NULL
        AND ends_at > now() AND last_seen_at > :idle_since
    ORDER BY id
""")
_REVOKE = text("""
    UPDATE sessions SET revoked_at = now()
    WHERE revoked_at IS NULL
        AND (CAST(:id AS uuid) IS NULL OR id = :id)
        AND (CAST(:user_ids AS uuid[]) IS NULL OR user_id = ANY(CAST(:user_ids AS uuid[])))
        AND (CAST(:but AS uuid) IS NULL OR id <> :but)
    RETURNING hash
""")


async def insert_session(tx: Transaction, row: dict[str, Any]) -> None:
    """Store a session, and remove those of its user that are over."""
    await tx.execute(_CLEAN, {"user_id": row["user_id"], "now": datetime.now(UTC)})
    await tx.execute(_INSERT, row)


async def find_session(
    tx: Transaction, session_hash: bytes, idle: timedelta, written_every: timedelta
) -> Row[Any] | None:
    """The session with this hash if it is alive; notes that it was seen, but not each time."""
    now = datetime.now(UTC)
    row = await tx.row(_FIND, {"hash": session_hash, "idle_since": now - idle})
    if row is not None and row.last_seen_at < now - written_every:
        await tx.execute(_SEEN, {"id": row.id})
    return row


async def list_sessions(tx: Transaction, user_id: UUID, idle: timedelta) -> Sequence[Row[Any]]:
    """A user's sessions that are alive, oldest first."""
    idle_since = datetime.now(UTC) - idle
    return await tx.rows(_LIST, {"user_id": user_id, "idle_since": idle_since})


async def revoke_sessions(
    tx: Transaction,
    *,
    session_id: UUID | None = None,
    user_ids: Sequence[UUID] | None = None,
    but: UUID | None = None,
) -> list[bytes]:
    """End a session, or all of some users but one; the hashes of those that were alive."""
    if session_id is None and user_ids is None:
        return []
    users = None if user_ids is None else list(user_ids)
    rows = await tx.rows(_REVOKE, {"id": session_id, "user_ids": users, "but": but})
    return [row.hash for row in rows]
