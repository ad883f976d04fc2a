"""The field rules of the protos (buf.validate), checked on a request."""

from typing import Any

import protovalidate
from google.protobuf.message import Message

from common.errors import InvalidField, InvalidRequest

__all__ = ["check", "pointer"]


def check(request: Message) -> None:
    """Check a request against the rules in its proto.

    Raises:
        InvalidRequest: names every field that breaks one, by JSON pointer (RFC 6901).
    """
    violations = protovalidate.collect_violations(request)
    if violations:
        raise InvalidRequest(
            [InvalidField(pointer(item.proto.field), item.proto.message) for item in violations]
        )


def pointer(path: Any) -> str:
    """The JSON pointer of a buf.validate.FieldPath, empty when that means the whole message."""
    steps: list[str] = []
    for element in path.elements if path is not None else ():
        steps.append(element.field_name)
        if element.subscript is not None:
            steps.append(str(element.subscript.value))
    return "".join("/" + step.replace("~", "~0").replace("/", "~1") for step in steps)
