"""The page of events: what services say has happened."""

from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FileDescriptor

from erp.accounting.v1 import events_pb2 as accounting
from erp.gateway.v1 import events_pb2 as gateway
from erp.inventory.v1 import events_pb2 as inventory
from erp.sales.v1 import events_pb2 as sales
from gateway.comments import comments
from gateway.schemas import Schemas

_FILES: dict[str, FileDescriptor] = {
    "Sales": sales.DESCRIPTOR,
    "Inventory": inventory.DESCRIPTOR,
    "Accounting": accounting.DESCRIPTOR,
    "Gateway": gateway.DESCRIPTOR,
}


def events_page() -> str:
    """Every event with its fields, by its source."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Events"
    yield ""
    yield "What happened, as `GET /api/v1/events` and webhooks tell it: CloudEvents whose `type` is"
    yield "the name below, whose `subject` is the first field, and whose `sequence` is the tenant's"
    yield "number at this source, without gaps. `data` holds the fields."
    for source, file in _FILES.items():
        yield ""
        yield f"## {source}"
        inside = {
            field.message_type.full_name
            for message in file.message_types_by_name.values()
            for field in message.fields
            if field.message_type is not None
        }
        for message in file.message_types_by_name.values():
            if message.full_name not in inside:
                yield from _event(message)


def _event(message: Descriptor) -> Iterator[str]:
    yield ""
    yield f"### `{message.full_name}`"
    yield ""
    yield comments().get(message.full_name, "")
    yield ""
    yield "| field | type | meaning |"
    yield "|---|---|---|"
    for field in message.fields:
        kind = _kind(field)
        said = comments().get(field.full_name, "").replace("\n", " ").replace("|", "\\|")
        yield f"| `{field.name}` | {kind} | {said} |"


def _kind(field: object) -> str:
    schema = Schemas().parameter(field)  # type: ignore[arg-type]
    if items := schema.get("items"):
        return f"list of {_word(items)}"
    return _word(schema)


def _word(schema: dict[str, object]) -> str:
    reference = str(schema.get("$ref", ""))
    return reference.rpartition("/")[2] or str(schema.get("format") or schema.get("type", "string"))
