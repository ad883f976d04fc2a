"""Ids: UUIDv7 (RFC 9562), so that what is made later sorts later."""

from uuid import UUID

import uuid_utils

from common.errors import InvalidRequest


def new() -> UUID:
    """A new id, greater than those that this process made before."""
    return UUID(int=uuid_utils.uuid7().int)


def parse(text: str, field: str) -> UUID:
    """The id in a request's field.

    Raises:
        InvalidRequest: it is not a UUID; names the field by its JSON pointer.
    """
    try:
        return UUID(text)
    except ValueError:
        raise InvalidRequest.of(f"/{field}", "must be a valid UUID") from None


def parse_optional(text: str, field: str) -> UUID | None:
    """The id in a request's field, or None when the field is empty."""
    return parse(text, field) if text else None


def first_of(milliseconds: int) -> UUID:
    """The least id that can be made in a millisecond since 1970; ids of earlier ones are less."""
    begin = max(0, min(milliseconds, 2**48 - 1))
    return UUID(int=(begin << 80) | (7 << 76) | (2 << 62))
