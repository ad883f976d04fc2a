"""Deliveries: one event on its way to one webhook, to the last attempt."""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, select, text

from common import caller, ids, jobs, outbox, tracing
from common.database import Database, Transaction
from common.errors import NotFound
from common.listing import Listing
from common.pagination import Page
from common.wire import enum_value, enum_word, timestamp
from erp.events.v1.events_pb2 import Event
from erp.gateway.v1 import webhook_pb2 as pb
from erp.gateway.v1.events_pb2 import WebhookDisabled, WebhookTested
from erp.gateway.v1.jobs_pb2 import DeliverWebhook
from erp.gateway.v1.webhook_service_pb2 import ListWebhookDeliveriesRequest
from gateway import webhook_notices, webhooks
from gateway import webhook_tables as tables
from gateway.cloud_events import to_cloud_event
from gateway.outside_http import Reply

__all__ = ["Sending", "begin", "get", "list_of", "postpone", "record", "redeliver", "send_all"]

SYSTEM_REASON = "old webhook deliveries"
QUEUE = "low"
# Seconds before the second attempt and each further one, about three days in all.
DELAYS = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
# So many failures in a row, of whatever deliveries, and a webhook is only probed for a while.
FAILURES_TO_CLOSE = 5
_FIRST_PAUSE, _LONGEST_PAUSE, _PROBE = 30.0, 3600.0, 60.0
GIVE_UP = timedelta(days=5)
KEPT = timedelta(days=30)
_KIND = "webhook delivery"
_MOST_ATTEMPTS = 50
_PENDING, _DELIVERED, _FAILED = "pending", "delivered", "failed"
_deliveries, _attempts, _health = (
    tables.webhook_deliveries,
    tables.webhook_attempts,
    tables.webhook_health,
)
_LIST = Listing(
    ListWebhookDeliveriesRequest,
    _deliveries.c,
    "id",
    newest_first=True,
    others={
        "attempt_count": _deliveries.c.attempts,
        "next_attempt_time": _deliveries.c.next_attempt_at,
    },
)

_INSERT = text("""
    INSERT INTO webhook_deliveries (id, webhook_id, event_id, event_type, source, sequence, body,
                                    next_attempt_at)
    SELECT new.*, now()
    FROM unnest(CAST(:ids AS uuid[]), CAST(:webhook_ids AS uuid[]), CAST(:event_ids AS uuid[]),
                CAST(:types AS text[]), CAST(:sources AS text[]), CAST(:sequences AS bigint[]),
                CAST(:bodies AS bytea[])) AS new
    ON CONFLICT ON CONSTRAINT webhook_deliveries_once DO NOTHING
    RETURNING id
""")
# The webhook's health is locked: of those that come at the same time, one is the probe.
_BEGIN = text("""
    SELECT delivery.*, webhook.url, webhook.state AS webhook_state, webhook.secret,
           CASE WHEN webhook.old_secret_until > now() THEN webhook.old_secret END AS old_secret,
           health.failures, extract(epoch FROM health.closed_until - clock_timestamp()) AS closed
    FROM webhook_deliveries AS delivery
    JOIN webhooks AS webhook ON webhook.tenant_id = delivery.tenant_id
        AND webhook.id = delivery.webhook_id
    JOIN webhook_health AS health ON health.tenant_id = webhook.tenant_id
        AND health.webhook_id = webhook.id
    WHERE delivery.tenant_id = :tenant_id AND delivery.id = :id
    FOR UPDATE OF health
""")
_CLOSE = text("""
    UPDATE webhook_health SET closed_until = clock_timestamp() + make_interval(secs => :seconds)
    WHERE tenant_id = :tenant_id AND webhook_id = :webhook_id
""")
_FAIL = text("""
    UPDATE webhook_health
    SET failures = failures + 1, failing_since = coalesce(failing_since, now()),
        closed_until = CASE WHEN failures + 1 >= :most THEN clock_timestamp() + make_interval(
            secs => least(:first * power(2, least(failures + 1 - :most, 20)), :longest)) END
    WHERE tenant_id = :tenant_id AND webhook_id = :webhook_id
    RETURNING failing_since
""")
_SUCCEED = text("""
    UPDATE webhook_health SET failures = 0, failing_since = NULL, closed_until = NULL
    WHERE tenant_id = :tenant_id AND webhook_id = :webhook_id AND failures > 0
""")


@dataclass(frozen=True)
class Sending:
    """An attempt that is to be made now."""

    delivery_id: UUID
    webhook_id: UUID
    url: str
    body: bytes
    # Sealed; the second one only while it is still good.
    secrets: tuple[bytes, ...]


async def send_all(tx: Transaction, events: Sequence[Event]) -> None:
    """Begin to send events to all webhooks that want them, each event to each webhook once."""
    wanted = await tx.rows(
        select(tables.webhooks.c.id, tables.webhooks.c.types).where(
            tables.webhooks.c.state == webhooks.ENABLED
        )
    )
    await _insert(
        tx,
        [
            (row.id, event)
            for event in events
            for row in wanted
            if not row.types or event.type in row.types
        ],
    )


async def test(tx: Transaction, webhook_id: UUID) -> pb.WebhookDelivery:
    """Begin to send a WebhookTested to one webhook alone.

    Raises:
        NotFound: there is no such webhook.
    """
    await webhooks.get(tx, webhook_id)
    message = WebhookTested(webhook_id=str(webhook_id))
    request_id = caller.current().request_id
    event = Event(
        id=str(ids.new()),
        tenant_id=str(tx.tenant_id),
        source="gateway",
        type=message.DESCRIPTOR.full_name,
        subject=str(webhook_id),
        data=message.SerializeToString(),
        request_id=request_id,
        traceparent=tracing.traceparent_for(request_id),
    )
    event.time.GetCurrentTime()
    (delivery_id,) = await _insert(tx, [(webhook_id, event)])
    return await get(tx, delivery_id)


async def redeliver(tx: Transaction, delivery_id: UUID) -> pb.WebhookDelivery:
    """Begin anew to send what was sent before, or was to be.

    Raises:
        NotFound: there is no such delivery.
    """
    again = {"state": _PENDING, "tries": 0, "round": _deliveries.c.round + 1}
    row = await _change(tx, delivery_id, **again, next_attempt_at=datetime.now(UTC))
    if row is None:
        raise NotFound(_KIND, delivery_id)
    _enqueue(tx, row, 0)
    return _to_wire(row)


async def begin(
    tx: Transaction, job: DeliverWebhook, is_busy: Callable[[UUID], bool]
) -> Sending | float | None:
    """What to do about a delivery now.

    Args:
        tx: the transaction to join.
        job: names the delivery and which attempt this is.
        is_busy: whether as much is being sent to a webhook as may be.

    Returns:
        What to send; seconds to wait first; None when there is nothing to do any more.
    """
    wanted = {"tenant_id": tx.tenant_id, "id": UUID(job.delivery_id)}
    row = await tx.row(_BEGIN, wanted)
    if row is None or row.state != _PENDING or not _is_next(row, job):
        return None
    if row.webhook_state != webhooks.ENABLED:
        await _change(tx, row.id, state=_FAILED, next_attempt_at=None)
        return None
    if row.closed is not None and row.closed > 0:
        return float(row.closed) + random.uniform(0, 5)  # noqa: S311 (jitter, not a secret)
    if is_busy(row.webhook_id):
        return random.uniform(0.5, 2)  # noqa: S311 (jitter, not a secret)
    if row.failures >= FAILURES_TO_CLOSE:
        # This one is the probe; the others wait for what it finds.
        await tx.execute(_CLOSE, {**_of(tx, row.webhook_id), "seconds": _PROBE})
    sealed = tuple(secret for secret in (row.secret, row.old_secret) if secret)
    return Sending(row.id, row.webhook_id, row.url, row.body, sealed)


async def postpone(tx: Transaction, job: DeliverWebhook, seconds: float) -> None:
    """Look at a delivery again later; that was no attempt."""
    later = datetime.now(UTC) + timedelta(seconds=seconds)
    row = await _change(tx, UUID(job.delivery_id), next_attempt_at=later)
    if row is not None:
        jobs.enqueue(tx, job, queue=QUEUE, delay_seconds=seconds)


async def record(tx: Transaction, job: DeliverWebhook, sending: Sending, reply: Reply) -> None:
    """Write down how an attempt went, and have the next one made when it is needed."""
    statement = select(_deliveries).where(_deliveries.c.id == sending.delivery_id)
    row = await tx.row(statement.with_for_update())
    if row is None or not _is_next(row, job):
        # Removed, or begun anew meanwhile.
        return
    began = datetime.now(UTC) - timedelta(seconds=reply.seconds)
    attempt = {
        "delivery_id": row.id,
        "number": row.attempts + 1,
        "attempted_at": began,
        "duration_ms": round(reply.seconds * 1000),
        "status_code": reply.status,
        "error": reply.error,
        "response": reply.text,
    }
    await tx.execute(_attempts.insert().values(attempt))
    if reply.succeeded:
        await tx.execute(_SUCCEED, _of(tx, row.webhook_id))
        done = {"state": _DELIVERED, "next_attempt_at": None}
        await _change(tx, row.id, attempts=row.attempts + 1, tries=row.tries + 1, **done)
        return
    await _fail(tx, row, reply)


async def _fail(tx: Transaction, row: Row[Any], reply: Reply) -> None:
    pauses = {"first": _FIRST_PAUSE, "longest": _LONGEST_PAUSE, "most": FAILURES_TO_CLOSE}
    health = await tx.row(_FAIL, {**_of(tx, row.webhook_id), **pauses})
    assert health is not None
    counted: dict[str, Any] = {"attempts": row.attempts + 1, "tries": row.tries + 1}
    gone = reply.status == 410  # noqa: PLR2004 (Gone: the receiver wants no more, says the standard)
    if gone or datetime.now(UTC) - health.failing_since > GIVE_UP:
        reason = "It answered 410 Gone." if gone else "Every attempt failed for five days."
        await webhooks.disable(tx, row.webhook_id, reason)
        outbox.publish(tx, WebhookDisabled(webhook_id=str(row.webhook_id), reason=reason))
        await webhook_notices.tell_of_disabled(tx, row.webhook_id)
        await _change(tx, row.id, **counted, state=_FAILED, next_attempt_at=None)
    elif row.tries >= len(DELAYS):
        await _change(tx, row.id, **counted, state=_FAILED, next_attempt_at=None)
    else:
        seconds = DELAYS[row.tries] * random.uniform(0.8, 1.2)  # noqa: S311 (jitter, not a secret)
        later = datetime.now(UTC) + timedelta(seconds=seconds)
        changed = await _change(tx, row.id, **counted, next_attempt_at=later)
        assert changed is not None
        _enqueue(tx, changed, seconds)


async def get(tx: Transaction, delivery_id: UUID) -> pb.WebhookDelivery:
    """A delivery with its attempts.

    Raises:
        NotFound: there is no such delivery.
    """
    row = await tx.row(select(_deliveries).where(_deliveries.c.id == delivery_id))
    if row is None:
        raise NotFound(_KIND, delivery_id)
    made = select(_attempts).where(_attempts.c.delivery_id == delivery_id)
    newest = made.order_by(_attempts.c.number.desc()).limit(_MOST_ATTEMPTS)
    return _to_wire(row, await tx.rows(newest))


async def list_of(
    tx: Transaction, webhook_id: UUID, page: Page, state: int
) -> tuple[list[pb.WebhookDelivery], str]:
    """A page of a webhook's deliveries, the newest first, and what names the next page.

    Raises:
        NotFound: there is no such webhook.
    """
    await webhooks.get(tx, webhook_id)
    statement = select(_deliveries).where(_deliveries.c.webhook_id == webhook_id)
    if state:
        wanted = enum_word(pb.WebhookDeliveryState, state)
        statement = statement.where(_deliveries.c.state == wanted)
    rows, next_page = await _LIST.read(tx, statement, page)
    return [_to_wire(row) for row in rows], next_page


async def forget_old_deliveries(database: Database) -> None:
    """Remove what was sent long ago."""
    forget = text("""
        DELETE FROM webhook_deliveries WHERE created_at < now() - :kept AND state <> 'pending'
    """)
    async with database.system_transaction(SYSTEM_REASON) as connection:
        await connection.execute(forget, {"kept": KEPT})


async def _insert(tx: Transaction, sent: Iterable[tuple[UUID, Event]]) -> list[UUID]:
    pairs = list(sent)
    if not pairs:
        return []
    columns = {
        "ids": [ids.new() for _ in pairs],
        "webhook_ids": [webhook_id for webhook_id, _ in pairs],
        "event_ids": [event.id for _, event in pairs],
        "types": [event.type for _, event in pairs],
        "sources": [event.source for _, event in pairs],
        "sequences": [event.sequence for _, event in pairs],
        "bodies": [to_cloud_event(event) for _, event in pairs],
    }
    made = [row.id for row in await tx.rows(_INSERT, columns)]
    for delivery_id in made:
        jobs.enqueue(tx, DeliverWebhook(delivery_id=str(delivery_id)), queue=QUEUE)
    return made


async def _change(tx: Transaction, delivery_id: UUID, **values: Any) -> Row[Any] | None:
    change = _deliveries.update().where(_deliveries.c.id == delivery_id).values(values)
    return await tx.row(change.returning(_deliveries))


def _enqueue(tx: Transaction, row: Row[Any], seconds: float) -> None:
    job = DeliverWebhook(delivery_id=str(row.id), round=row.round, attempts=row.attempts)
    jobs.enqueue(tx, job, queue=QUEUE, delay_seconds=seconds)


def _is_next(row: Row[Any], job: DeliverWebhook) -> bool:
    """Whether this attempt has not been made, and nobody has begun anew."""
    return (row.round, row.attempts) == (job.round, job.attempts)


def _of(tx: Transaction, webhook_id: UUID) -> dict[str, Any]:
    return {"tenant_id": tx.tenant_id, "webhook_id": webhook_id}


def _to_wire(row: Row[Any], attempts: Sequence[Row[Any]] = ()) -> pb.WebhookDelivery:
    return pb.WebhookDelivery(
        id=str(row.id),
        webhook_id=str(row.webhook_id),
        event_id=str(row.event_id),
        event_type=row.event_type,
        source=row.source,
        sequence=row.sequence,
        state=enum_value(pb.WebhookDeliveryState, row.state),
        attempt_count=row.attempts,
        next_attempt_time=timestamp(row.next_attempt_at),
        create_time=timestamp(row.created_at),
        attempts=[
            pb.WebhookAttempt(
                number=attempt.number,
                time=timestamp(attempt.attempted_at),
                duration_ms=attempt.duration_ms,
                status_code=attempt.status_code,
                error=attempt.error,
                response=attempt.response,
            )
            for attempt in attempts
        ],
    )
