"""From an HTTP request to an rpc's message: body, query and path brought together."""

from typing import Any

from google.protobuf.message import Message

from common.errors import InvalidRequest, NotFound
from gateway.http_request import HttpRequest
from gateway.json_input import read_json, refuse_repeated_names
from gateway.masks import FIELDS, read_mask
from gateway.query import read_query, refuse_query, take_flag, take_text
from gateway.routes import Route

VALIDATE_ONLY = "validate_only"
_MASK = "update_mask"
# Named by every change and never changed by it.
_UNMASKED = frozenset({"id", "version", _MASK})


async def read_message(route: Route, values: tuple[str, ...], request: HttpRequest) -> Message:
    """The message that a request means.

    Raises:
        InvalidRequest: body or query break the contract; names all problems.
        NotFound: the path names something that cannot exist.
    """
    in_path = _bind(route, values)
    if route.verb != "GET":
        request.query, request.validate_only = take_flag(request.query, VALIDATE_ONLY)
    if route.takes_body:
        refuse_query(request.query)
        fields = _read_body(route, await request.body(), in_path)
    else:
        if route.takes_fields:
            request.query, names = take_text(request.query, FIELDS)
            request.mask = read_mask(route.method.output_type, names)
        fields = read_query(route.method.input_type, request.query, route.parameters)
    return route.policy.request(**fields, **in_path)


def _bind(route: Route, values: tuple[str, ...]) -> dict[str, str]:
    in_path = route.bind(values)
    if in_path is None:
        raise NotFound("record", values[-1][:100])
    return in_path


def _read_body(route: Route, body: bytes, in_path: dict[str, str]) -> dict[str, Any]:
    value = read_json(body)
    fields: dict[str, Any] = route.read(value)
    refuse_repeated_names(body, value)
    for name, text in in_path.items():
        if fields.pop(name, text) != text:
            raise InvalidRequest.of(f"/{name}", "must be the same as in the path, or be left out")
    if route.verb == "PATCH":
        fields[_MASK] = {"paths": _mask(route, fields)}
    return fields


def _mask(route: Route, fields: dict[str, Any]) -> list[str]:
    """The fields to change: those that the mask names, else those that are there."""
    can_change = {field.name for field in route.method.input_type.fields} - _UNMASKED
    if _MASK not in fields:
        return [name for name in fields if name in can_change]
    for path in fields[_MASK]["paths"]:
        if path not in can_change:
            raise InvalidRequest.of(
                f"/{_MASK}", f"must name some of {', '.join(sorted(can_change))}"
            )
    return list(fields[_MASK]["paths"])
