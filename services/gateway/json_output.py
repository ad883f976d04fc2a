"""Writes protobuf messages as JSON values, by writers that are compiled once per message type."""

from collections.abc import Callable, Sequence
from functools import cache
from operator import attrgetter
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from gateway.enums import words_by_number
from gateway.fields import enum_of, is_time, kind_of, message_of
from gateway.problems import problem_of_status
from gateway.timestamps import write_timestamp

Writer = Callable[[Any], Any]


@cache
def writer_for(message: Descriptor) -> Writer:
    """The function that turns a message of this type into what JSON can hold.

    Scalar fields are always there, with their empty value when nothing was set, and times, as null;
    other message fields and optional fields are left out when unset.
    """
    if message.full_name in _SPECIAL:
        return _SPECIAL[message.full_name]
    names = tuple(field.name for field in message.fields)
    read = _reader_of(names)
    changes = [change for field in message.fields if (change := _change(field))]
    times = {field.name for field in message.fields if is_time(field)}

    def write(value: Message) -> dict[str, Any]:
        fields = dict(zip(names, read(value), strict=True))
        for name, convert, has_presence in changes:
            if has_presence and not value.HasField(name):
                if name in times:
                    fields[name] = None
                else:
                    del fields[name]
            elif convert:
                fields[name] = convert(fields[name])
        return fields

    return write


def _reader_of(names: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """All fields at once: attrgetter reads them without returning to Python in between."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda message: tuple(getattr(message, name) for name in names)


def _change(field: FieldDescriptor) -> tuple[str, Writer | None, bool] | None:
    """What is to be done with a field's value; None when it can stay as it is."""
    convert = _field_writer(field)
    return (field.name, convert, field.has_presence) if convert or field.has_presence else None


def _field_writer(field: FieldDescriptor) -> Writer | None:
    one = _value_writer(field)
    if not field.is_repeated:
        return one
    return (lambda values: [one(value) for value in values]) if one else list


def _value_writer(field: FieldDescriptor) -> Writer | None:
    match kind_of(field):
        case "message":
            return writer_for(message_of(field))
        case "enum":
            words = words_by_number(enum_of(field))
            return lambda number: words.get(number, "")
        case _:
            return None


def _write_event(event: Any) -> Any:
    # Later, as an event holds messages that are written here in turn.
    from gateway.cloud_events import cloud_event  # noqa: PLC0415

    return cloud_event(event)


def is_special(message: Descriptor) -> bool:
    """Whether it becomes something else than an object of its fields."""
    return message.full_name in _SPECIAL


_SPECIAL: dict[str, Writer] = {
    "erp.events.v1.Event": _write_event,
    "google.protobuf.Timestamp": write_timestamp,
    "google.protobuf.FieldMask": lambda mask: ",".join(mask.paths),
    "google.rpc.Status": problem_of_status,
}
