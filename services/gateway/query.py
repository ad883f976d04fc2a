"""Query parameters, read by the same types as a body."""

import re
from collections.abc import Callable
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.empty_pb2 import Empty

from common.errors import InvalidField, InvalidRequest
from gateway.fields import RANGES, kind_of, message_of
from gateway.json_input import field_reader

_MOST_PARAMETERS = 50
_INTEGER = re.compile(r"-?[0-9]{1,20}", re.ASCII)


def read_query(message: Descriptor, query: bytes, in_path: tuple[str, ...] = ()) -> dict[str, Any]:
    """The fields of a request that a query names; those that the path names are unknown here.

    Raises:
        InvalidRequest: a parameter is unknown, repeated or of the wrong type; names all of them.
    """
    if not query:
        return {}
    fields: dict[str, Any] = {}
    problems: list[InvalidField] = []
    readers = _readers(message)
    for name, text in _pairs(query):
        pointer = f"/{name[:100]}"
        if name not in readers or name in in_path:
            problems.append(InvalidField(pointer, "is not a parameter that is known here"))
        elif name in fields:
            problems.append(InvalidField(pointer, "must not be repeated"))
        else:
            fields[name] = None
            try:
                fields[name] = readers[name](text)
            except InvalidRequest as error:
                problems.extend(InvalidField(pointer, item.rule) for item in error.violations)
    if problems:
        raise InvalidRequest(problems)
    return fields


def refuse_query(query: bytes) -> None:
    """Refuse any parameter: what was meant to narrow a command must not be passed over.

    Raises:
        InvalidRequest: there is one.
    """
    if query:
        read_query(Empty.DESCRIPTOR, query)


def take_flag(query: bytes, name: str) -> tuple[bytes, bool]:
    """The query without a parameter that is true or false, and what it is; false when absent.

    Raises:
        InvalidRequest: it is neither, or there twice.
    """
    pairs = [part.partition(b"=") for part in query.split(b"&")]
    values = [value for key, _, value in pairs if key == name.encode()]
    if not values:
        return query, False
    if len(values) > 1:
        raise InvalidRequest.of(f"/{name}", "must not be repeated")
    if values[0] not in (b"true", b"false"):
        raise InvalidRequest.of(f"/{name}", "must be true or false")
    rest = (b"".join(pair) for pair in pairs if pair[0] != name.encode())
    return b"&".join(rest), values == [b"true"]


def take_text(query: bytes, name: str) -> tuple[bytes, str]:
    """The query without a parameter that is text, and what it is; empty when absent.

    Raises:
        InvalidRequest: it is there twice, or the query is no text.
    """
    if name.encode() not in query:
        return query, ""
    pairs = _pairs(query)
    texts = [text for key, text in pairs if key == name]
    if len(texts) > 1:
        raise InvalidRequest.of(f"/{name}", "must not be repeated")
    return urlencode([pair for pair in pairs if pair[0] != name]).encode(), "".join(texts)


def is_parameter(field: FieldDescriptor) -> bool:
    """Whether a query can name the field: single values can, objects and lists cannot."""
    return not field.is_repeated and (
        kind_of(field) != "message" or message_of(field).full_name == "google.protobuf.Timestamp"
    )


@cache
def _readers(message: Descriptor) -> dict[str, Callable[[str], Any]]:
    return {field.name: _reader(field) for field in message.fields if is_parameter(field)}


def _reader(field: FieldDescriptor) -> Callable[[str], Any]:
    read = field_reader(field)
    kind = kind_of(field)
    if kind in RANGES:
        return lambda text: read(int(text) if _INTEGER.fullmatch(text) else text)
    if kind == "bool":
        return lambda text: read({"true": True, "false": False}.get(text, text))
    return read


def _pairs(query: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(
            query.decode("ascii"),
            keep_blank_values=True,
            max_num_fields=_MOST_PARAMETERS,
            errors="strict",
        )
    except UnicodeDecodeError:
        raise InvalidRequest.of("", "must be a query of UTF-8 text") from None
    except ValueError:
        raise InvalidRequest.of(
            "", f"must not have more than {_MOST_PARAMETERS} parameters"
        ) from None
