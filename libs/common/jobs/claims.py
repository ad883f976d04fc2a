"""The rows of running jobs: claimed over all tenants, kept alive, given back, taken from the dead.

All of it is decided by the database's clock. What says `claim = :mine` is fenced: it does nothing
once another attempt has taken over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text

from common import ids
from common.database import Database
from common.jobs.enqueueing import Woken
from common.jobs.tables import MOST_DEATHS, SYSTEM_REASON

__all__ = ["Claimed", "Claims", "Died", "Key"]

MOST_PROMOTED = 1_000
MOST_REAPED = 100
WORKER_DIED = "The worker died, or did not answer for so long that it counted as dead."
_NOBODY = UUID(int=0)

# The next tenants after the one that was served last, in a ring, and the oldest jobs of each:
# whoever has ten thousand waiting gets no more turns than whoever has one. Each step jumps along
# jobs_ready.
_CHOOSE = """
    turns_{n} AS (
        SELECT CAST(:after_{n} AS uuid) AS tenant_id, 0 AS place, false AS again
        UNION ALL
        SELECT next.tenant_id, place + 1, next.again FROM turns_{n} CROSS JOIN LATERAL (
            (SELECT tenant_id, turns_{n}.again FROM jobs
             WHERE state = 'ready' AND queue = :queue_{n} AND name = ANY(CAST(:names AS text[]))
               AND tenant_id > turns_{n}.tenant_id
               AND (NOT turns_{n}.again OR tenant_id <= :after_{n})
             ORDER BY tenant_id LIMIT 1)
            UNION ALL
            (SELECT tenant_id, true FROM jobs
             WHERE state = 'ready' AND queue = :queue_{n} AND name = ANY(CAST(:names AS text[]))
               AND NOT turns_{n}.again AND tenant_id <= :after_{n}
             ORDER BY tenant_id LIMIT 1)
            ORDER BY again LIMIT 1
        ) AS next WHERE place < {room}
    ), chosen_{n} AS (
        SELECT oldest.*, place FROM turns_{n} CROSS JOIN LATERAL (
            SELECT tenant_id, id FROM jobs
            WHERE state = 'ready' AND queue = :queue_{n} AND name = ANY(CAST(:names AS text[]))
              AND tenant_id = turns_{n}.tenant_id
            ORDER BY ready_at, id
            LIMIT (SELECT greatest({room} / greatest(count(*) - 1, 1), 1) FROM turns_{n})
            FOR UPDATE SKIP LOCKED
        ) AS oldest WHERE place > 0
    )"""
_CHOSEN = "SELECT * FROM chosen_{n}"
_TAKEN = " - (SELECT count(*) FROM chosen_{n})"
_CLAIM = """
    WITH RECURSIVE {choices}
    UPDATE jobs SET state = 'running', claim = :claim, attempt = attempt + 1, done = 0, total = 0,
        started_at = clock_timestamp(),
        lease_until = clock_timestamp() + make_interval(secs => :lease)
    FROM ({chosen}) AS chosen
    WHERE jobs.tenant_id = chosen.tenant_id AND jobs.id = chosen.id
    RETURNING jobs.tenant_id, jobs.id, name, queue, payload, request_id, traceparent, attempt,
              failures, tries, claim, batch_id, links IS NOT NULL AS has_links, place
"""
# Rows locked by ourselves are in a transaction: nobody takes those over.
_BEAT = text("""
    WITH held AS (
        SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]),
                             CAST(:claims AS uuid[])) AS held (tenant_id, id, claim)
    ), mine AS (
        SELECT jobs.tenant_id, jobs.id FROM jobs JOIN held USING (tenant_id, id)
        WHERE jobs.claim = held.claim FOR NO KEY UPDATE OF jobs SKIP LOCKED
    ), beaten AS (
        UPDATE jobs SET lease_until = clock_timestamp() + make_interval(secs => :lease)
        FROM mine WHERE jobs.tenant_id = mine.tenant_id AND jobs.id = mine.id
    )
    SELECT jobs.tenant_id, jobs.id FROM jobs JOIN held USING (tenant_id, id)
    WHERE jobs.claim = held.claim
""")
_RELEASE = text("""
    UPDATE jobs SET state = 'ready', claim = NULL, lease_until = NULL, attempt = attempt - 1
    FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(:claims AS uuid[]))
         AS held (tenant_id, id, claim)
    WHERE jobs.tenant_id = held.tenant_id AND jobs.id = held.id AND jobs.claim = held.claim
    RETURNING jobs.queue, jobs.id
""")
_COMPLETE = text("""
    WITH done AS (
        DELETE FROM jobs
        USING unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(:claims AS uuid[]))
              AS held (tenant_id, id, claim)
        WHERE jobs.tenant_id = held.tenant_id AND jobs.id = held.id AND jobs.claim = held.claim
        RETURNING jobs.*
    )
    INSERT INTO finished_jobs (tenant_id, id, name, queue, state, request_id, chain_id, batch_id,
                               attempt, done, total, created_at, started_at, finished_at)
    SELECT tenant_id, id, name, queue, 'succeeded', request_id, chain_id, batch_id,
           attempt, done, total, created_at, started_at, clock_timestamp() FROM done
""")
_PROMOTE = text("""
    WITH due AS (
        SELECT tenant_id, id FROM jobs WHERE state = 'delayed' AND ready_at <= clock_timestamp()
        ORDER BY ready_at LIMIT :most FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET state = 'ready' FROM due
    WHERE jobs.tenant_id = due.tenant_id AND jobs.id = due.id
    RETURNING jobs.queue, jobs.id
""")
# A database that was away is given time to hear from those who live. A job that kills its workers
# is claimed by whoever is going to park it.
_REAP = text("""
    WITH dead AS (
        SELECT tenant_id, id FROM jobs
        WHERE state = 'running' AND lease_until < clock_timestamp()
          AND pg_postmaster_start_time() < clock_timestamp() - make_interval(secs => :lease)
        ORDER BY lease_until LIMIT :most FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET deaths = deaths + 1, error = :error,
        state = CASE WHEN deaths + 1 < :most_deaths THEN 'ready' ELSE 'running' END,
        claim = CASE WHEN deaths + 1 < :most_deaths THEN NULL ELSE CAST(:claim AS uuid) END,
        lease_until = CASE WHEN deaths + 1 >= :most_deaths
            THEN clock_timestamp() + make_interval(secs => :lease) END
    FROM dead WHERE jobs.tenant_id = dead.tenant_id AND jobs.id = dead.id
    RETURNING jobs.tenant_id, jobs.id, name, queue, payload, request_id, traceparent, attempt,
              failures, tries, claim, batch_id, links IS NOT NULL AS has_links
""")

Key = tuple[UUID, UUID, UUID]  # tenant, job, claim


@dataclass(frozen=True)
class Claimed:
    """One attempt at a job."""

    tenant_id: UUID
    id: UUID
    name: str
    queue: str
    payload: bytes
    request_id: str
    traceparent: str
    # From 1; those that were given back at a worker's end don't count.
    attempt: int
    failures: int
    tries: int | None
    claim: UUID
    batch_id: UUID | None
    has_links: bool

    @property
    def key(self) -> Key:
        """Names the attempt in this process."""
        return self.tenant_id, self.id, self.claim

    def fence(self) -> dict[str, UUID]:
        """What a statement needs to do nothing once another attempt has taken over."""
        return {"tenant_id": self.tenant_id, "id": self.id, "claim": self.claim}


@dataclass(frozen=True)
class Died:
    """Jobs whose worker has died: those that are ready again, those that are to be parked."""

    ready: list[Woken]
    parked: list[Claimed]


class Claims:
    """One worker's hold on jobs of all tenants.

    Args:
        database: the service's.
        names: full names of the messages that this worker has handlers for.
        lease_seconds: others take a job over when its worker has been silent for so long.
    """

    def __init__(self, database: Database, names: Sequence[str], lease_seconds: float) -> None:
        self._database = database
        self._names = list(names)
        self._lease_seconds = lease_seconds
        # By queue: the tenant whose turn was the last.
        self._served: dict[str, UUID] = {}

    async def take(self, queues: Sequence[str], most: int) -> list[Claimed]:
        """Claim jobs that are ready, those of the first queue first, tenants in turn.

        There may be more, also when these are fewer than `most`.
        """
        parameters: dict[str, Any] = {
            "names": self._names,
            "most": most,
            "claim": ids.new(),
            "lease": self._lease_seconds,
        }
        for number, queue in enumerate(queues):
            parameters[f"queue_{number}"] = queue
            parameters[f"after_{number}"] = self._served.get(queue, _NOBODY)
        async with self._database.system_transaction(SYSTEM_REASON) as connection:
            rows = (await connection.execute(_claim_from(len(queues)), parameters)).all()
        for row in sorted(rows, key=attrgetter("place")):
            self._served[row.queue] = row.tenant_id
        return [Claimed(*row[:-1]) for row in rows]

    async def beat(self, held: Sequence[Claimed]) -> set[Key]:
        """Prolong the leases; returns those that are still ours."""
        async with self._database.system_transaction(SYSTEM_REASON) as connection:
            parameters = {**_columns(held), "lease": self._lease_seconds}
            rows = (await connection.execute(_BEAT, parameters)).all()
        alive = {(row.tenant_id, row.id) for row in rows}
        return {job.key for job in held if (job.tenant_id, job.id) in alive}

    async def release(self, held: Sequence[Claimed]) -> list[Woken]:
        """Give jobs back as if they had not been tried; returns those that were still ours."""
        async with self._database.system_transaction(SYSTEM_REASON) as connection:
            rows = (await connection.execute(_RELEASE, _columns(held))).all()
        return [Woken(*row) for row in rows]

    async def complete(self, held: Sequence[Claimed]) -> None:
        """Complete those that are still ours. Not for links of chains or jobs of batches."""
        async with self._database.system_transaction(SYSTEM_REASON) as connection:
            await connection.execute(_COMPLETE, _columns(held))

    async def promote(self) -> list[Woken]:
        """Make those ready whose delay is over."""
        async with self._database.system_transaction(SYSTEM_REASON) as connection:
            rows = (await connection.execute(_PROMOTE, {"most": MOST_PROMOTED})).all()
        return [Woken(*row) for row in rows]

    async def reap(self) -> Died:
        """Take over the jobs of the dead; those to be parked are claimed by us until they are."""
        async with self._database.system_transaction(SYSTEM_REASON) as connection:
            parameters = {
                "lease": self._lease_seconds,
                "most": MOST_REAPED,
                "most_deaths": MOST_DEATHS,
                "claim": ids.new(),
                "error": WORKER_DIED,
            }
            rows = (await connection.execute(_REAP, parameters)).all()
        return Died(
            [Woken(row.queue, row.id) for row in rows if row.claim is None],
            [Claimed(*row) for row in rows if row.claim is not None],
        )


@cache
def _claim_from(queues: int) -> TextClause:
    """A statement that claims from so many queues, from each what those before have left."""
    choices, chosen, room = [], [], ":most"
    for number in range(queues):
        choices.append(_CHOOSE.format(n=number, room=f"({room})"))
        chosen.append(_CHOSEN.format(n=number))
        room += _TAKEN.format(n=number)
    return text(_CLAIM.format(choices=",".join(choices), chosen=" UNION ALL ".join(chosen)))


def _columns(held: Sequence[Claimed]) -> dict[str, list[UUID]]:
    return {
        "tenants": [job.tenant_id for job in held],
        "ids": [job.id for job in held],
        "claims": [job.claim for job in held],
    }
