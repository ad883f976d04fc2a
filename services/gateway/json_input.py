"""Reads JSON values into protobuf messages, by readers that are compiled once per message type."""

import json
from collections.abc import Callable
from functools import cache
from typing import Any

import orjson
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from common.errors import InvalidField, InvalidRequest
from gateway.enums import words_by_number
from gateway.fields import RANGES, enum_of, kind_of, message_of, rules_of
from gateway.timestamps import read_timestamp

# A reader returns what a message's constructor takes for the field, or raises InvalidRequest with
# pointers that are relative to the value it was given.
Reader = Callable[[Any], Any]

LONGEST_MASK = 500
# More problems than this in one body help nobody.
_MOST_PROBLEMS = 100


def read_json(body: bytes) -> dict[str, Any]:
    """The object that a body holds; an empty body counts as an empty object.

    Raises:
        InvalidRequest: it is not UTF-8, not JSON, nested too deeply, or not an object.
    """
    if not body:
        return {}
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest.of("", f"must be JSON: {error.msg}") from None
    if type(value) is not dict:
        raise InvalidRequest.of("", "must be a JSON object")
    return value


def refuse_repeated_names(body: bytes, value: dict[str, Any]) -> None:
    """Refuse a body in which an object holds a name twice, of which `value` has only the last.

    Every name is followed by a colon, so a body with as many colons as names has none twice; only
    others are read again. Call it for a value whose shape has been checked: it follows its nesting.

    Raises:
        InvalidRequest: a name occurs twice.
    """
    if body.count(b":") != _count_names(value):
        json.loads(body, object_pairs_hook=_refuse_repeated)


def _count_names(value: Any) -> int:
    if type(value) is dict:
        return len(value) + sum(
            _count_names(item) for item in value.values() if type(item) in (dict, list)
        )
    return sum(_count_names(item) for item in value if type(item) in (dict, list))


def _refuse_repeated(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InvalidRequest.of("", f'must not name "{twice}" twice in one object')


@cache
def reader_for(message: Descriptor) -> Reader:
    """The function that checks a JSON object and gives the arguments of a message's constructor.

    All problems of an object are collected. Fields that are null count as absent.
    """
    if message.full_name in _SPECIAL:
        return _SPECIAL[message.full_name]
    readers = {field.name: field_reader(field) for field in message.fields}

    def read(value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            raise InvalidRequest.of("", "must be an object")
        fields: dict[str, Any] = {}
        problems: list[InvalidField] = []
        for name, item in value.items():
            try:
                reader = readers.get(name) or _refuse_unknown
                if item is not None or reader is _refuse_unknown:
                    fields[name] = reader(item)
            except InvalidRequest as error:
                _add(problems, name, error)
        if problems:
            raise InvalidRequest(problems)
        return fields

    return read


def _refuse_unknown(_: Any) -> None:
    raise InvalidRequest.of("", "is not a field that is known here")


def _add(problems: list[InvalidField], name: str | int, error: InvalidRequest) -> None:
    """Add a value's problems to those of the object or list that holds it."""
    step = str(name)[:100].replace("~", "~0").replace("/", "~1")
    problems.extend(InvalidField(f"/{step}{item.pointer}", item.rule) for item in error.violations)
    if len(problems) >= _MOST_PROBLEMS:
        raise InvalidRequest(problems[:_MOST_PROBLEMS])


def field_reader(field: FieldDescriptor) -> Reader:
    """The function that checks one field's value."""
    one = _value_reader(field)
    return _list_reader(one, _most_items(field)) if field.is_repeated else one


def _most_items(field: FieldDescriptor) -> int:
    """How many items the contract allows: asked before they are read, to save the memory."""
    rules = rules_of(field).repeated
    return rules.max_items if rules.HasField("max_items") else 1000


def _list_reader(one: Reader, most: int) -> Reader:
    def read(value: Any) -> list[Any]:
        if type(value) is not list:
            raise InvalidRequest.of("", "must be an array")
        if len(value) > most:
            raise InvalidRequest.of("", f"must contain no more than {most} items")
        items: list[Any] = []
        problems: list[InvalidField] = []
        for index, item in enumerate(value):
            try:
                items.append(one(item))
            except InvalidRequest as error:
                _add(problems, index, error)
        if problems:
            raise InvalidRequest(problems)
        return items

    return read


def _value_reader(field: FieldDescriptor) -> Reader:
    match kind_of(field):
        case "message":
            return reader_for(message_of(field))
        case "enum":
            return _enum_reader(field)
        case "string":
            return _read_string
        case "bool":
            return _read_bool
        case kind:
            return _integer_reader(*RANGES[kind])


def _read_string(value: Any) -> str:
    if type(value) is not str:
        raise InvalidRequest.of("", "must be a string")
    if "\0" in value:
        raise InvalidRequest.of("", "must not contain the character U+0000")
    return value


def _read_bool(value: Any) -> bool:
    if type(value) is not bool:
        raise InvalidRequest.of("", "must be true or false")
    return value


def _integer_reader(smallest: int, greatest: int) -> Reader:
    def read(value: Any) -> int:
        # type() rather than isinstance(): true is an int in Python and none in JSON.
        if type(value) is not int or not smallest <= value <= greatest:
            raise InvalidRequest.of("", f"must be an integer from {smallest} to {greatest}")
        return value

    return read


def _enum_reader(field: FieldDescriptor) -> Reader:
    numbers = {word: number for number, word in words_by_number(enum_of(field)).items()}
    words = ", ".join(word for word in numbers if word)

    def read(value: Any) -> int:
        number = numbers.get(value) if type(value) is str else None
        if number is None:
            raise InvalidRequest.of("", f"must be one of {words}")
        return number

    return read


def _read_field_mask(value: Any) -> dict[str, list[str]]:
    text = _read_string(value)
    if len(text) > LONGEST_MASK:
        raise InvalidRequest.of("", f"must not be longer than {LONGEST_MASK} characters")
    return {"paths": [path.strip() for path in text.split(",")] if text else []}


_SPECIAL: dict[str, Reader] = {
    "google.protobuf.Timestamp": read_timestamp,
    "google.protobuf.FieldMask": _read_field_mask,
}
