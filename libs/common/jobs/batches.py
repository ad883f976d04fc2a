"""Jobs that belong together: how many are done, and what follows when all are."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import Row, case, select, text

from common import caller, ids
from common.database import Database, Transaction
from common.duties import Duty
from common.errors import BrokenRule, NotFound
from common.jobs.enqueueing import NewBatch, NewJob, link_to, linked, name_of
from common.jobs.rows import batches
from common.jobs.tables import SYSTEM_REASON
from common.listing import Listing
from common.pagination import Page
from common.partitions import FINISHED_JOBS
from erp.jobs.v1.job_service_pb2 import ListBatchesRequest
from erp.jobs.v1.links_pb2 import Link

__all__ = [
    "LISTED",
    "BatchHasEnded",
    "batch",
    "cancel",
    "count",
    "forget_batches",
    "get_batch",
    "list_batches",
]

_state = case(
    (batches.c.cancelled_at.is_not(None), "cancelled"),
    (batches.c.finished_at.is_(None), "running"),
    (batches.c.failed > 0, "failed"),
    else_="succeeded",
)
_SELECT = select(*batches.c, _state.label("state"))
LISTED = Listing(
    ListBatchesRequest,
    batches.c,
    "id",
    newest_first=True,
    others={"state": _state, "end_time": batches.c.finished_at},
)
# What is being claimed at this moment is waited for and left alone.
_CALL_OFF = text("""
    WITH called_off AS (
        DELETE FROM jobs
        WHERE tenant_id = :tenant_id AND batch_id = :id AND state <> 'running' RETURNING *
    ), kept AS (
        INSERT INTO finished_jobs (tenant_id, id, name, queue, state, request_id, chain_id,
                                   batch_id, attempt, done, total, created_at, started_at)
        SELECT tenant_id, id, name, queue, 'cancelled', request_id, chain_id,
               batch_id, attempt, done, total, created_at, started_at FROM called_off
    )
    SELECT count(*) FROM called_off
""")
_CANCEL = text("""
    UPDATE job_batches SET cancelled_at = clock_timestamp()
    WHERE tenant_id = :tenant_id AND id = :id
""")

# The links are read before they are taken: each is enqueued once, whatever is retried later.
_COUNT = text("""
    WITH was AS (
        SELECT * FROM job_batches WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE
    ), counted AS (
        SELECT was.*, total = succeeded + failed + cancelled + :succeeded + :failed + :cancelled
                      AS ended,
               failed + :failed > 0 AS has_failed,
               cancelled_at IS NOT NULL AS has_cancelled
        FROM was
    ), now AS (
        UPDATE job_batches AS batch SET
            succeeded = batch.succeeded + :succeeded,
            failed = batch.failed + :failed,
            cancelled = batch.cancelled + :cancelled,
            then_link = CASE WHEN ended AND NOT has_failed AND NOT has_cancelled
                THEN NULL ELSE batch.then_link END,
            catch_link = CASE WHEN has_failed THEN NULL ELSE batch.catch_link END,
            finally_link = CASE WHEN ended THEN NULL ELSE batch.finally_link END,
            finished_at = CASE WHEN ended THEN clock_timestamp() END
        FROM counted WHERE batch.tenant_id = counted.tenant_id AND batch.id = counted.id
    )
    SELECT request_id, CASE WHEN has_failed THEN catch_link END AS caught,
           CASE WHEN ended AND NOT has_failed AND NOT has_cancelled THEN then_link END AS then,
           CASE WHEN ended THEN finally_link END AS finished
    FROM counted
""")

_FORGET = text("""
    DELETE FROM job_batches WHERE finished_at < clock_timestamp() - make_interval(days => :days)
""")
_FORGET_SECONDS = 3600.0


@dataclass(eq=False)
class BatchHasEnded(BrokenRule):
    """What has ended cannot be called off."""

    detail = "All jobs of batch {id} have ended already."

    id: UUID


def batch(
    tx: Transaction,
    messages: Sequence[Message],
    *,
    name: str,
    then: Message | None = None,
    catch: Message | None = None,
    finally_: Message | None = None,
    queue: str | None = None,
) -> UUID:
    """Have jobs done side by side, and see them as one; returns the batch's id.

    Args:
        tx: the transaction that wants them.
        messages: a job each.
        name: what the batch is, for people.
        then: a job for when all have succeeded.
        catch: a job for when the first has failed for good.
        finally_: a job for when none is left to be done, whatever became of them.
        queue: that of the jobs; their handlers' when absent.
    """
    if not messages:
        raise ValueError("a batch needs at least one job: nothing would ever finish it")
    new = NewBatch(
        id=ids.new(),
        name=name,
        total=len(messages),
        request_id=caller.current().request_id,
        then_link=_bytes_of(then),
        catch_link=_bytes_of(catch),
        finally_link=_bytes_of(finally_),
    )
    tx.pending_jobs.append(new)
    tx.pending_jobs.extend(_member(new, message, queue) for message in messages)
    return new.id


async def count(
    tx: Transaction, batch_id: UUID, *, succeeded: int = 0, failed: int = 0, cancelled: int = 0
) -> None:
    """Count jobs that have ended in this transaction, and enqueue what follows from it."""
    counts = {"succeeded": succeeded, "failed": failed, "cancelled": cancelled}
    row = await tx.row(_COUNT, {"tenant_id": tx.tenant_id, "id": batch_id, **counts})
    if row is None:
        # Finished for longer than batches are kept: one of its jobs was retried after all.
        return
    for link in (row.caught, row.then, row.finished):
        if link is not None:
            tx.pending_jobs.append(linked([Link.FromString(link)], None, row.request_id))


def forget_batches(database: Database) -> Duty:
    """The duty to forget batches that ended a week ago, as their jobs are."""

    async def forget() -> None:
        async with database.system_transaction(SYSTEM_REASON) as connection:
            await connection.execute(_FORGET, {"days": FINISHED_JOBS.days})

    return Duty("forget batches", _FORGET_SECONDS, forget)


async def list_batches(tx: Transaction, page: Page) -> Sequence[Row[Any]]:
    """The tenant's batches, newest first unless the page says otherwise.

    Raises:
        InvalidRequest: filter, order or place are wrong.
    """
    return await tx.rows(LISTED.limited(_SELECT, page))


async def get_batch(tx: Transaction, batch_id: UUID) -> Row[Any]:
    """One of the tenant's batches.

    Raises:
        NotFound: there is none, or it ended more than a week ago.
    """
    row = await tx.row(_SELECT.where(batches.c.id == batch_id))
    if row is None:
        raise NotFound("batch", batch_id)
    return row


async def cancel(tx: Transaction, batch_id: UUID) -> Row[Any]:
    """Call off those of its jobs that have not begun; twice is as once.

    Raises:
        NotFound: there is none.
        BatchHasEnded: there is nothing left to call off.
    """
    batch = await get_batch(tx, batch_id)
    if batch.state == "cancelled":
        return batch
    if batch.state != "running":
        raise BatchHasEnded(batch_id)
    parameters = {"tenant_id": tx.tenant_id, "id": batch_id}
    called_off = await tx.scalar(_CALL_OFF, parameters)
    await tx.execute(_CANCEL, parameters)
    await count(tx, batch_id, cancelled=called_off)
    return await get_batch(tx, batch_id)


def _member(new: NewBatch, message: Message, queue: str | None) -> NewJob:
    return NewJob(
        id=ids.new(),
        name=name_of(message),
        payload=message.SerializeToString(),
        request_id=new.request_id,
        queue=queue,
        batch_id=new.id,
    )


def _bytes_of(message: Message | None) -> bytes | None:
    return link_to(message).SerializeToString() if message is not None else None
