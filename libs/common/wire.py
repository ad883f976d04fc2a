"""Small conversions between what travels and what the domain works with."""

from datetime import datetime
from typing import Any

from google.protobuf.descriptor import EnumDescriptor
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.timestamp_pb2 import Timestamp


def timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment in UTC as it travels; None stays None, which leaves a message field unset."""
    if moment is None:
        return None
    message = Timestamp()
    message.FromDatetime(moment)
    return message


def enum_prefix(enum: EnumTypeWrapper) -> str:
    """The prefix that all values of an enum share: "ORDER_STATE_" for OrderState."""
    return enum.DESCRIPTOR.values_by_number[0].name.removesuffix("UNSPECIFIED")


def enum_value(enum: EnumTypeWrapper, word: str) -> Any:
    """The enum's value for a word as we store it: "draft" is ORDER_STATE_DRAFT."""
    return enum.Value(enum_prefix(enum) + word.upper())


def enum_word(enum: EnumTypeWrapper, value: int) -> str:
    """The word for an enum's value, empty when it is unspecified."""
    return enum.Name(value).removeprefix(enum_prefix(enum)).lower() if value else ""


def enum_words(enum: EnumDescriptor) -> tuple[str, ...]:
    """The words of all values of an enum but the unspecified one."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return tuple(value.name.removeprefix(prefix).lower() for value in enum.values if value.number)
