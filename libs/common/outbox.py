"""Events that leave with the transaction that made them true, numbered in commit order."""

from google.protobuf.message import Message
from sqlalchemy import text

from common import caller, ids, tracing
from common.database import PendingEvent, Transaction, WriteEvents
from erp.events.v1.events_pb2 import Event

# The head is locked until the commit, and this is the transaction's last write: sequence order is
# commit order.
_WRITE = text("""
    WITH head AS (
        INSERT INTO event_heads AS head (tenant_id, sequence) VALUES (:tenant_id, :count)
        ON CONFLICT (tenant_id)
        DO UPDATE SET sequence = head.sequence + :count, changed_at = clock_timestamp()
        RETURNING sequence
    ), written AS (
        INSERT INTO events
            (tenant_id, sequence, id, type, subject, data, request_id, traceparent)
        SELECT :tenant_id, head.sequence - :count + item.place, item.id, item.type, item.subject,
               item.data, item.request_id, item.traceparent
        FROM head, unnest(CAST(:ids AS uuid[]), CAST(:types AS text[]), CAST(:subjects AS text[]),
                          CAST(:data AS bytea[]), CAST(:request_ids AS text[]),
                          CAST(:traceparents AS text[]))
             WITH ORDINALITY AS item (id, type, subject, data, request_id, traceparent, place)
    )
    SELECT sequence, now() AS time FROM head
""")


def publish(tx: Transaction, *messages: Message, request_id: str | None = None) -> None:
    """Tell the world, once the transaction commits.

    Args:
        tx: the transaction that makes it true.
        messages: events of erp.*.v1; the first field of each is its subject.
        request_id: the request that caused them; the caller's own when absent.
    """
    cause = caller.current().request_id if request_id is None else request_id
    traceparent = tracing.traceparent_for(cause)
    tx.pending_events.extend(
        PendingEvent(subject_of(message), message, cause, traceparent) for message in messages
    )


def subject_of(message: Message) -> str:
    """The id of the thing that an event happened to: its first field."""
    return str(getattr(message, message.DESCRIPTOR.fields[0].name))


def write_events(source: str) -> WriteEvents:
    """How the service called `source` stores its events."""

    async def write(tx: Transaction) -> list[Event]:
        blank = Event(tenant_id=str(tx.tenant_id), source=source)
        events = [_event(blank, pending) for pending in tx.pending_events]
        (head,) = await tx.rows(_WRITE, _columns(tx, events))
        first = head.sequence - len(events) + 1
        for sequence, event in enumerate(events, first):
            event.sequence = sequence
            event.time.FromDatetime(head.time)
        return events

    return write


def _event(blank: Event, pending: PendingEvent) -> Event:
    event = Event(
        id=str(ids.new()),
        type=pending.message.DESCRIPTOR.full_name,
        subject=pending.subject,
        data=pending.message.SerializeToString(),
        request_id=pending.request_id,
        traceparent=pending.traceparent,
    )
    event.MergeFrom(blank)
    return event


def _columns(tx: Transaction, events: list[Event]) -> dict[str, object]:
    return {
        "tenant_id": tx.tenant_id,
        "count": len(events),
        "ids": [event.id for event in events],
        "types": [event.type for event in events],
        "subjects": [event.subject for event in events],
        "data": [event.data for event in events],
        "request_ids": [event.request_id for event in events],
        "traceparents": [event.traceparent for event in events],
    }
