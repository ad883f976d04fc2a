"""Events as CloudEvents 1.0 in JSON (structured mode)."""

import base64
from functools import cache
from typing import Any

import orjson
from google.protobuf import descriptor_pool, message_factory
from google.protobuf.message import Message

from erp.accounting.v1 import events_pb2 as _accounting
from erp.events.v1.events_pb2 import Event
from erp.gateway.v1 import events_pb2 as _gateway
from erp.inventory.v1 import events_pb2 as _inventory
from erp.sales.v1 import events_pb2 as _sales
from gateway.json_output import writer_for
from gateway.timestamps import write_timestamp


def to_cloud_event(event: Event) -> bytes:
    """The event as JSON text, for subscribers."""
    return orjson.dumps(cloud_event(event))


def known_types() -> frozenset[str]:
    """The events that this gateway knows of."""
    files = (_accounting, _gateway, _inventory, _sales)
    return frozenset(
        f"{file.DESCRIPTOR.package}.{name}"
        for file in files
        for name in file.DESCRIPTOR.message_types_by_name
    )


def cloud_event(event: Event) -> dict[str, Any]:
    """The event as what JSON can hold, its data in the JSON of the REST API.

    Data of a type that this gateway does not know yet, because the service is newer, stays as the
    service wrote it, in `data_base64`.
    """
    envelope: dict[str, Any] = {
        "specversion": "1.0",
        "type": event.type,
        "source": f"/{event.source}",
        "id": event.id,
        "time": write_timestamp(event.time),
        "tenantid": event.tenant_id,
        "sequence": event.sequence,
    }
    # An attribute without a value is not allowed to be there.
    if event.subject:
        envelope["subject"] = event.subject
    if event.request_id:
        envelope["requestid"] = event.request_id
    if event.traceparent:
        envelope["traceparent"] = event.traceparent
    return envelope | _data(event)


def _data(event: Event) -> dict[str, Any]:
    kind = _message_class(event.type)
    if kind is None:
        encoded = base64.b64encode(event.data).decode()
        return {"datacontenttype": "application/protobuf", "data_base64": encoded}
    message = kind.FromString(event.data)
    written = writer_for(kind.DESCRIPTOR)(message)
    return {"datacontenttype": "application/json", "data": written}


@cache
def _message_class(name: str) -> type[Message] | None:
    try:
        found = descriptor_pool.Default().FindMessageTypeByName(name)
    except KeyError:
        return None
    return message_factory.GetMessageClass(found)
