"""Which kinds of protobuf fields have a form in JSON here."""

from typing import Literal

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from buf.validate import validate_pb2

Kind = Literal["string", "bool", "int32", "int64", "uint32", "uint64", "enum", "message"]

_KINDS: dict[int, Kind] = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_ENUM: "enum",
    FieldDescriptor.TYPE_MESSAGE: "message",
}
# Smallest and greatest value of each kind of integer.
RANGES: dict[Kind, tuple[int, int]] = {
    "int32": (-(2**31), 2**31 - 1),
    "int64": (-(2**63), 2**63 - 1),
    "uint32": (0, 2**32 - 1),
    "uint64": (0, 2**64 - 1),
}


def kind_of(field: FieldDescriptor) -> Kind:
    """The kind of a field's single value.

    Raises:
        TypeError: the contract may not use it: floats lose digits, maps and bytes have no form.
    """
    message = field.message_type
    if field.type not in _KINDS or (message is not None and message.GetOptions().map_entry):
        raise TypeError(f"{field.full_name} is of a kind that REST does not carry.")
    return _KINDS[field.type]


def message_of(field: FieldDescriptor) -> Descriptor:
    """The type of a field of kind "message"."""
    assert field.message_type is not None
    return field.message_type


def is_time(field: FieldDescriptor) -> bool:
    """Whether it is a moment."""
    message = field.message_type
    return message is not None and message.full_name == "google.protobuf.Timestamp"


def enum_of(field: FieldDescriptor) -> EnumDescriptor:
    """The type of a field of kind "enum"."""
    assert field.enum_type is not None
    return field.enum_type


def rules_of(field: FieldDescriptor) -> validate_pb2.FieldRules:
    """What buf.validate demands of a field."""
    rules: validate_pb2.FieldRules = field.GetOptions().Extensions[validate_pb2.field]  # type: ignore[index]
    return rules
