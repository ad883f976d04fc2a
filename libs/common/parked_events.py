"""Events that no listener could apply, applied again when an operator says so."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row, text

from common import caller, tracing
from common.database import Database, TooBusy
from common.duties import Duty
from common.errors import OutcomeUnknown, Unavailable
from common.listening import Lane, heard_of
from common.subscriptions import caused_by
from erp.events.v1.events_pb2 import Event

__all__ = ["SYSTEM_REASON", "retry_parked_events"]

SYSTEM_REASON = "parked events"
_LOOK_SECONDS = 1.0
_MOST = 100

log = structlog.get_logger()

_WANTED = text("""
    SELECT tenant_id, id, name, source, payload FROM failed_jobs
    WHERE retry_wanted_at IS NOT NULL AND kind = 'event' ORDER BY retry_wanted_at LIMIT :most
""")
# The same lock as the stream's: what is applied again is never applied beside it.
_LOCK = text("""
    SELECT 1 FROM subscriptions
    WHERE tenant_id = :tenant_id AND listener = :listener AND source = :source
    FOR UPDATE SKIP LOCKED
""")
_TAKE = text("""
    DELETE FROM failed_jobs
    WHERE tenant_id = :tenant_id AND id = :id AND retry_wanted_at IS NOT NULL RETURNING id
""")
_KEEP = text("""
    UPDATE failed_jobs SET retry_wanted_at = NULL, attempts = attempts + 1, error = :error,
        failed_at = clock_timestamp()
    WHERE tenant_id = :tenant_id AND id = :id AND retry_wanted_at IS NOT NULL
""")


def retry_parked_events(service: str, database: Database, lanes: Sequence[Lane]) -> Duty:
    """The duty to apply parked events that somebody wants tried again, each exactly once."""
    by_name = {(lane.name, lane.source): lane for lane in lanes}

    async def retry() -> None:
        async with database.system_transaction(SYSTEM_REASON) as connection:
            wanted = (await connection.execute(_WANTED, {"most": _MOST})).all()
        for row in wanted:
            with caller.acting_as(caller.service_caller(service, row.tenant_id)):
                await _retry(database, by_name, row)

    return Duty("retry parked events", _LOOK_SECONDS, retry)


async def _retry(database: Database, lanes: dict[tuple[str, str], Lane], row: Row[Any]) -> None:
    try:
        await _apply(database, lanes, row)
    except (Unavailable, OutcomeUnknown, TooBusy) as error:
        log.info("parked event waits", id=str(row.id), error=str(error))
    except Exception as error:
        log.warning("parked event failed again", id=str(row.id), exc_info=error)
        sentence = f"{type(error).__name__}: {error}"[:2000]
        async with database.tenant_transaction() as tx:
            await tx.execute(_KEEP, {**_key(row), "error": sentence})


async def _apply(database: Database, lanes: dict[tuple[str, str], Lane], row: Row[Any]) -> None:
    """Apply and remove it in one transaction."""
    listener, _, kind = row.name.partition(":")
    lane = lanes.get((listener, row.source))
    if lane is None or not lane.hears(kind):
        raise LookupError("no listener of this service applies it any more")
    event = Event.FromString(row.payload)
    with caused_by([event], [tracing.continued(event.traceparent)]):
        await _apply_once(database, lane, row, event)


async def _apply_once(database: Database, lane: Lane, row: Row[Any], event: Event) -> None:
    async with database.tenant_transaction() as tx:
        lock = {"tenant_id": row.tenant_id, "listener": lane.name, "source": row.source}
        if await tx.row(_LOCK, lock) is None:
            # The stream is at work; the next look comes soon.
            return
        if await tx.scalar(_TAKE, _key(row)) is not None:
            listening = lane.listening_to(event.type)
            await listening.listener(tx, [heard_of(listening, event)])


def _key(row: Row[Any]) -> dict[str, UUID]:
    return {"tenant_id": row.tenant_id, "id": row.id}
