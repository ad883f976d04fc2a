"""Message types as JSON Schema (2020-12), with the limits that buf.validate sets."""

import re
from collections.abc import Iterator
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from buf.validate import validate_pb2
from gateway.comments import comments
from gateway.enums import words_by_number
from gateway.fields import RANGES, enum_of, is_time, kind_of, message_of, rules_of
from gateway.json_input import LONGEST_MASK

Schema = dict[str, Any]

_MATCHES = re.compile(r"(?<!!)this\.matches\('([^']+)'\)")
_OWN_FORM: dict[str, Schema] = {
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.FieldMask": {
        "type": "string",
        "maxLength": LONGEST_MASK,
        "description": "Names of fields, separated by commas.",
    },
    "google.rpc.Status": {"$ref": "#/components/schemas/Problem"},
    "erp.events.v1.Event": {"$ref": "#/components/schemas/CloudEvent"},
}
# A time that has not come is null in an answer.
_ANSWERED_TIME: Schema = {"type": ["string", "null"], "format": "date-time"}
_FORMATS = {"uuid": "uuid", "email": "email", "uri": "uri", "hostname": "hostname"}


class Schemas:
    """Collects the schemas of messages, each under its own name."""

    def __init__(self) -> None:
        self.by_name: dict[str, Schema] = {}
        self._messages: dict[str, str] = {}

    def request(self, message: Descriptor, without: tuple[str, ...] = ()) -> Schema:
        """A reference to what a body has to be; the fields that the path names are left out."""
        return self._reference(message, is_request=True, without=without)

    def answer(self, message: Descriptor) -> Schema:
        """A reference to what an answer is."""
        return self._reference(message, is_request=False)

    def parameter(self, field: FieldDescriptor) -> Schema:
        """What a query parameter has to be."""
        return self._field(field, is_request=True)

    def _reference(
        self, message: Descriptor, *, is_request: bool, without: tuple[str, ...] = ()
    ) -> Schema:
        if message.full_name in _OWN_FORM:
            return _OWN_FORM[message.full_name]
        name = message.name
        if self._messages.setdefault(name, message.full_name) != message.full_name:
            raise ValueError(f"{message.full_name} and {self._messages[name]} have the same name")
        if name not in self.by_name:
            self.by_name[name] = {}
            self.by_name[name] |= self._message(message, is_request=is_request, without=without)
        return {"$ref": f"#/components/schemas/{name}"}

    def _message(
        self, message: Descriptor, *, is_request: bool, without: tuple[str, ...]
    ) -> Schema:
        fields = [field for field in message.fields if field.name not in without]
        names = [field.name for field in fields if _is_there(field, is_request=is_request)]
        schema: Schema = {"type": "object"} | _described(message.full_name)
        schema["properties"] = {
            field.name: self._field(field, is_request=is_request) for field in fields
        }
        if names:
            schema["required"] = names
        if is_request:
            schema["additionalProperties"] = False
        return schema

    def _field(self, field: FieldDescriptor, *, is_request: bool) -> Schema:
        rules = rules_of(field)
        if not field.is_repeated:
            schema = self._value(field, rules, is_request=is_request)
        else:
            items = self._value(field, rules.repeated.items, is_request=is_request)
            schema = {"type": "array", "items": items} | _list_limits(rules.repeated)
        description = " ".join(filter(None, (comments().get(field.full_name), *_said(rules))))
        return schema | ({"description": description} if description else {})

    def _value(
        self, field: FieldDescriptor, rules: validate_pb2.FieldRules, *, is_request: bool
    ) -> Schema:
        match kind_of(field):
            case "message" if not is_request and is_time(field):
                return dict(_ANSWERED_TIME)
            case "message":
                return dict(self._reference(message_of(field), is_request=is_request))
            case "enum":
                words = [word for word in words_by_number(enum_of(field)).values() if word]
                return {"type": "string", "enum": words if is_request else ["", *words]}
            case "string":
                return {"type": "string"} | _text_limits(rules, field)
            case "bool":
                return {"type": "boolean"}
            case kind:
                return {"type": "integer", "format": kind} | _number_limits(rules, kind)


def _described(full_name: str) -> Schema:
    text = comments().get(full_name)
    return {"description": text} if text else {}


def _is_there(field: FieldDescriptor, *, is_request: bool) -> bool:
    """Whether a field must be in a request, or is always in an answer."""
    if not is_request:
        return not field.has_presence or is_time(field)
    rules = rules_of(field)
    if rules.required:
        return True
    ignored = rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE
    return not field.has_presence and not ignored and _refuses_empty(rules)


def _refuses_empty(rules: validate_pb2.FieldRules) -> bool:
    """Whether a field's rules are broken by its empty value, which is what its absence means."""
    text = rules.string
    patterns = [text.pattern, *_patterns(rules)]
    return bool(
        text.uuid
        or text.email
        or text.min_len
        or any(pattern and not re.search(pattern, "") for pattern in patterns)
        or 0 in rules.enum.not_in
        or rules.repeated.min_items
        or rules.int32.gte > 0
        or rules.int64.gte > 0
    )


def _text_limits(rules: validate_pb2.FieldRules, field: FieldDescriptor) -> Schema:
    text = rules.string
    limits: Schema = {}
    if text.HasField("min_len"):
        limits["minLength"] = text.min_len
    if text.HasField("max_len"):
        limits["maxLength"] = text.max_len
    if listed := list(getattr(text, "in")):
        limits["enum"] = listed
    known = text.WhichOneof("well_known")
    if known in _FORMATS:
        limits["format"] = _FORMATS[known]
    patterns = [text.pattern] if text.HasField("pattern") else _patterns(rules)
    if patterns:
        limits["pattern"] = patterns[0]
    if rules.ignore == validate_pb2.IGNORE_IF_ZERO_VALUE and not field.has_presence:
        # Empty is as good as absent, whatever the limits say.
        return {"anyOf": [{"const": ""}, limits]} if limits else {}
    return limits


def _number_limits(rules: validate_pb2.FieldRules, kind: str) -> Schema:
    number = getattr(rules, kind)
    smallest, greatest = RANGES[kind]  # type: ignore[index]
    return {
        "minimum": number.gte if number.HasField("gte") else smallest,
        "maximum": number.lte if number.HasField("lte") else greatest,
    }


def _list_limits(rules: validate_pb2.RepeatedRules) -> Schema:
    limits: Schema = {}
    if rules.min_items:
        limits["minItems"] = rules.min_items
    if rules.max_items:
        limits["maxItems"] = rules.max_items
    if rules.unique:
        limits["uniqueItems"] = True
    return limits


def _expressions(rules: validate_pb2.FieldRules) -> Iterator[validate_pb2.Rule]:
    """The rules in CEL: the field's own, and those of options.proto that it switches on."""
    yield from rules.cel
    for option, value in rules.string.ListFields():
        if option.is_extension and value:
            yield from option.GetOptions().Extensions[validate_pb2.predefined].cel  # type: ignore[index]


def _patterns(rules: validate_pb2.FieldRules) -> list[str]:
    found = [match for rule in _expressions(rules) for match in _MATCHES.findall(rule.expression)]
    # In CEL a backslash is written as two.
    return [match.replace("\\\\", "\\") for match in found]


def _said(rules: validate_pb2.FieldRules) -> list[str]:
    sentences = [rule.message for rule in _expressions(rules)]
    return [sentence[0].upper() + sentence[1:] + "." for sentence in sentences if sentence]
