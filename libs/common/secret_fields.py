"""Which fields of messages are secret: those with the option `debug_redact`, wherever they lie."""

from functools import cache
from typing import Any

from google.protobuf import text_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

__all__ = ["has_secrets", "redacted"]


@cache
def has_secrets(message: Descriptor) -> bool:
    """Whether messages of this type can hold a secret, be it in a message inside."""
    return _search(message, set())


def redacted(message: Message) -> str:
    """A message in one line, for logs, with no more of its secrets than that they are there."""
    copy = type(message)()
    copy.CopyFrom(message)
    _hide(copy)
    return text_format.MessageToString(copy, as_one_line=True)


def _search(message: Descriptor, seen: set[str]) -> bool:
    seen.add(message.full_name)
    inner = (one.message_type for one in message.fields if one.message_type is not None)
    return any(_is_secret(one) for one in message.fields) or any(
        _search(one, seen) for one in inner if one.full_name not in seen
    )


def _is_secret(field: FieldDescriptor) -> bool:
    return bool(field.GetOptions().debug_redact)


def _hide(message: Any) -> None:
    for field, value in message.ListFields():
        if _is_secret(field):
            message.ClearField(field.name)
            if field.type == FieldDescriptor.TYPE_STRING and not field.is_repeated:
                setattr(message, field.name, "[redacted]")
        elif field.message_type is not None and not field.message_type.GetOptions().map_entry:
            for inner in value if field.is_repeated else (value,):
                _hide(inner)
