"""Jobs that come into being with the transaction that wants them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple
from uuid import UUID, uuid5

from google.protobuf.message import Message
from sqlalchemy import text

from common import caller, ids, tracing
from common.database import Transaction, WriteJobs
from common.jobs.tables import QUEUES
from erp.jobs.v1.links_pb2 import Link, Links

__all__ = [
    "INSERT",
    "NewBatch",
    "NewJob",
    "Woken",
    "chain",
    "columns_of",
    "enqueue",
    "link_to",
    "linked",
    "name_of",
    "store_jobs",
    "unique_id",
]

# One with the same id is the same work, not done yet.
INSERT = text("""
    INSERT INTO jobs (tenant_id, id, name, queue, state, payload, request_id, traceparent,
                      unique_key, tries, links, chain_id, batch_id, ready_at)
    SELECT tenant_id, id, name, queue, CASE WHEN delay > 0 THEN 'delayed' ELSE 'ready' END,
           payload, request_id, traceparent, unique_key, tries, links, chain_id, batch_id,
           clock_timestamp() + make_interval(secs => delay)
    FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS uuid[]), CAST(:names AS text[]),
                CAST(:queues AS text[]),
                CAST(:payloads AS bytea[]), CAST(:request_ids AS text[]),
                CAST(:traceparents AS text[]), CAST(:unique_keys AS text[]),
                CAST(:tries AS int[]), CAST(:links AS bytea[]),
                CAST(:chain_ids AS uuid[]), CAST(:batch_ids AS uuid[]), CAST(:delays AS float8[]))
         AS item (tenant_id, id, name, queue, payload, request_id, traceparent, unique_key,
                  tries, links, chain_id, batch_id, delay)
    ON CONFLICT (tenant_id, id) DO NOTHING
    RETURNING id, queue, state
""")

_INSERT_BATCH = text("""
    INSERT INTO job_batches (tenant_id, id, name, total, then_link, catch_link, finally_link,
                             request_id)
    VALUES (:tenant_id, :id, :name, :total, :then_link, :catch_link, :finally_link, :request_id)
""")


class Woken(NamedTuple):
    """A job that is ready, as workers are told of it after the commit."""

    queue: str
    id: UUID


@dataclass(frozen=True)
class NewJob:
    """A job that becomes real with its transaction."""

    id: UUID
    name: str
    payload: bytes
    request_id: str
    # None: its handler's.
    queue: str | None = None
    delay_seconds: float = 0.0
    unique_key: str | None = None
    tries: int | None = None
    links: bytes | None = None
    chain_id: UUID | None = None
    batch_id: UUID | None = None


@dataclass(frozen=True)
class NewBatch:
    """A batch that becomes real with its transaction, as do its jobs."""

    id: UUID
    name: str
    total: int
    request_id: str
    then_link: bytes | None
    catch_link: bytes | None
    finally_link: bytes | None


def enqueue(
    tx: Transaction,
    message: Message,
    *,
    queue: str | None = None,
    delay_seconds: float = 0,
    unique_key: str | None = None,
    tries: int | None = None,
    request_id: str | None = None,
) -> UUID:
    """Have a job done, once the transaction commits. Returns the id of the job that will do it.

    Args:
        tx: the transaction that wants it.
        message: what describes the job; large things are left in tables and named here.
        queue: "high", "default" or "low"; its handler's when absent.
        delay_seconds: not before so long from now.
        unique_key: while a job of this message and key is not done, this one is the same job.
        tries: failures before it is parked; its handler's, else the worker's `--tries`.
        request_id: the request that caused it; the caller's own when absent.
    """
    if queue is not None and queue not in QUEUES:
        raise ValueError(f"{queue!r} is not one of the queues {', '.join(QUEUES)}")
    name = name_of(message)
    job = NewJob(
        id=ids.new() if unique_key is None else unique_id(tx.tenant_id, name, unique_key),
        name=name,
        payload=message.SerializeToString(),
        request_id=caller.current().request_id if request_id is None else request_id,
        queue=queue,
        delay_seconds=delay_seconds,
        unique_key=unique_key,
        tries=tries,
    )
    tx.pending_jobs.append(job)
    return job.id


def chain(tx: Transaction, first: Message, *others: Message, queue: str | None = None) -> UUID:
    """Have jobs done one after another; returns the id of the first, by which all are found.

    Each is enqueued by the transaction that completes the one before. One that is parked stops the
    chain; when it is retried, the chain goes on.

    Args:
        tx: the transaction that wants them.
        first: what describes the first job.
        others: those after it, each in its handler's queue.
        queue: that of the first; its handler's when absent.
    """
    links = [link_to(message) for message in (first, *others)]
    job = linked(links, UUID(links[0].id), caller.current().request_id)
    tx.pending_jobs.append(replace(job, queue=queue))
    return job.id


def linked(links: Sequence[Link], chain_id: UUID | None, request_id: str) -> NewJob:
    """The first of these links as a job that brings the others along."""
    first, *others = links
    return NewJob(
        id=UUID(first.id),
        name=first.name,
        payload=first.payload,
        request_id=request_id,
        links=Links(links=others).SerializeToString() if others else None,
        chain_id=chain_id,
    )


def link_to(message: Message) -> Link:
    """A job to be enqueued later."""
    return Link(id=str(ids.new()), name=name_of(message), payload=message.SerializeToString())


def name_of(message: Message | type[Message]) -> str:
    """Full name of a message, such as "erp.sales.v1.ConfirmationMail"."""
    return str(message.DESCRIPTOR.full_name)


def store_jobs(queues: Mapping[str, str]) -> WriteJobs:
    """How a service stores its jobs; what that returns are those that are ready.

    Args:
        queues: that of each handler, by the full name of its message.
    """

    async def store(tx: Transaction) -> list[Woken]:
        for batch in (new for new in tx.pending_jobs if isinstance(new, NewBatch)):
            await tx.execute(_INSERT_BATCH, {"tenant_id": tx.tenant_id, **asdict(batch)})
        jobs = [new for new in tx.pending_jobs if isinstance(new, NewJob)]
        rows = await tx.rows(INSERT, columns_of([tx.tenant_id] * len(jobs), jobs, queues))
        return [
            *(new for new in tx.pending_jobs if isinstance(new, Woken)),
            *(Woken(row.queue, row.id) for row in rows if row.state == "ready"),
        ]

    return store


def columns_of(
    tenants: Sequence[UUID], jobs: Sequence[NewJob], queues: Mapping[str, str]
) -> dict[str, object]:
    """The parameters of INSERT for these jobs, each of its tenant."""
    return {
        "tenants": list(tenants),
        "ids": [job.id for job in jobs],
        "names": [job.name for job in jobs],
        "queues": [job.queue or queues.get(job.name, "default") for job in jobs],
        "payloads": [job.payload for job in jobs],
        "request_ids": [job.request_id for job in jobs],
        "traceparents": [tracing.traceparent_for(job.request_id) for job in jobs],
        "unique_keys": [job.unique_key for job in jobs],
        "tries": [job.tries for job in jobs],
        "links": [job.links for job in jobs],
        "chain_ids": [job.chain_id for job in jobs],
        "batch_ids": [job.batch_id for job in jobs],
        # A list of whole and broken numbers is more than the driver can store.
        "delays": [float(job.delay_seconds) for job in jobs],
    }


def unique_id(tenant_id: UUID, name: str, unique_key: str) -> UUID:
    """The id that all jobs of a tenant have whose message and key are the same."""
    return uuid5(tenant_id, f"{name}\0{unique_key}")
