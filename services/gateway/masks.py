"""Partial answers: `?fields=id,lines.quantity` leaves out all other fields (AIP-157)."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from google.protobuf.descriptor import Descriptor

from common.errors import InvalidRequest
from gateway.fields import kind_of, message_of
from gateway.json_output import is_special

__all__ = ["FIELDS", "LONGEST", "Mask", "described", "kept", "nameable", "read_mask"]

FIELDS = "fields"
LONGEST = 500
_PAGES = "next_page_token"

# What is kept of an object, by name, and of what lies there in turn; an empty one keeps all.
Mask = Mapping[str, "Mask"]


@cache
def nameable(answer: Descriptor) -> Descriptor | None:
    """The message whose fields can be named: a list's record, else the answer itself.

    None when it has no fields of ours: nothing is answered, or things in another form (events).
    """
    lists = [field for field in answer.fields if field.is_repeated and kind_of(field) == "message"]
    others = {field.name for field in answer.fields} - {field.name for field in lists}
    of_list = len(lists) == 1 and others <= {_PAGES}
    if not answer.fields or any(is_special(message_of(field)) for field in lists):
        return None
    return message_of(lists[0]) if of_list else answer


def read_mask(answer: Descriptor, text: str) -> Mask:
    """What is kept of an answer of this type; all of it when the text is empty.

    Raises:
        InvalidRequest: the text is too long, or names what there is not.
    """
    if len(text) > LONGEST:
        raise InvalidRequest.of(f"/{FIELDS}", f"must not be longer than {LONGEST} characters")
    message = nameable(answer)
    assert message is not None
    mask: dict[str, Any] = {}
    for path in text.split(",") if text else ():
        _add(mask, message, path.strip())
    if message is answer or not mask:
        return mask
    # A page goes on, whatever is kept of its records.
    return {field.name: {} if field.name == _PAGES else mask for field in answer.fields}


def _add(mask: dict[str, Any], message: Descriptor, path: str) -> None:
    """Keep what a path such as "lines.quantity" names, and what of it was kept already."""
    *outer, last = path.split(".")
    for name in outer:
        inner = _inner(message, name)
        if inner is None:
            raise _unknown(message, name, outer=True)
        # All of it is kept.
        if mask.get(name) == {}:
            mask = {}
        mask, message = mask.setdefault(name, {}), inner
    if last not in message.fields_by_name:
        raise _unknown(message, last)
    mask[last] = {}


def _inner(message: Descriptor, name: str) -> Descriptor | None:
    field = message.fields_by_name.get(name)
    if field is None or kind_of(field) != "message" or is_special(message_of(field)):
        return None
    return message_of(field)


def _unknown(message: Descriptor, name: str, *, outer: bool = False) -> InvalidRequest:
    known = [field.name for field in message.fields if not outer or _inner(message, field.name)]
    rule = f"must not name {name[:50]!r}" + (" with fields of its own" if outer else "")
    return InvalidRequest.of(f"/{FIELDS}", f"{rule}, only {', '.join(known)}")


def kept(value: Any, mask: Mask) -> Any:
    """What the mask keeps of a JSON value, in the value's order."""
    if not mask:
        return value
    if isinstance(value, list):
        return [kept(item, mask) for item in value]
    return {name: kept(item, mask[name]) for name, item in value.items() if name in mask}


def described(answer: Descriptor) -> Iterator[str]:
    """The names that a mask can begin with."""
    message = nameable(answer)
    return (field.name for field in message.fields) if message else iter(())
