"""Jobs that belong together: how many are done, and what follows when all are."""

from collections.abc import Sequence
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import text

from common import caller, ids
from common.database import Transaction
from common.jobs.enqueueing import NewBatch, NewJob, link_to, linked, name_of
from erp.jobs.v1.links_pb2 import Link

__all__ = ["batch", "count"]

# The links are read before they are taken: each is enqueued once, whatever is retried later.
_COUNT = text("""
    WITH was AS (
        SELECT * FROM job_batches WHERE tenant_id = :tenant_id AND id = :id FOR UPDATE
    ), counted AS (
        SELECT was.*, total = succeeded + failed + cancelled + :succeeded + :failed + :cancelled
                      AS ended,
               failed + :failed > 0 AS has_failed,
               cancelled + :cancelled > 0 AS has_cancelled
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
