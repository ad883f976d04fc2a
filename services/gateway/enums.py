"""Enums as words: ORDER_STATE_DRAFT is "draft", unspecified is the empty word."""

from google.protobuf.descriptor import EnumDescriptor


def words_by_number(enum: EnumDescriptor) -> dict[int, str]:
    """The word for each value of an enum."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {
        value.number: value.name.removeprefix(prefix).lower() if value.number else ""
        for value in enum.values
    }
