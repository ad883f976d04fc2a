"""What is known of a session, and how it is written where it is sealed."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

__all__ = ["Session", "read_session", "write_session"]


@dataclass(frozen=True)
class Session:
    """Somebody who is logged in."""

    id: UUID
    tenant_id: UUID
    user_id: UUID
    permissions: frozenset[str]
    # What signs the tokens against forged requests.
    csrf_secret: str
    # Where it was begun, in words for its user: a browser, an address.
    about: str
    created_at: datetime
    # However much it is used.
    ends_at: datetime


def write_session(session: Session, **more: float) -> bytes:
    """What is sealed of a session, and more beside it."""
    fields = vars(session) | {"permissions": sorted(session.permissions)} | more
    return orjson.dumps(fields)


def read_session(fields: dict[str, Any]) -> Session:
    """The session in the fields that were written."""
    return Session(
        id=UUID(fields["id"]),
        tenant_id=UUID(fields["tenant_id"]),
        user_id=UUID(fields["user_id"]),
        permissions=frozenset(fields["permissions"]),
        csrf_secret=fields["csrf_secret"],
        about=fields["about"],
        created_at=datetime.fromisoformat(fields["created_at"]),
        ends_at=datetime.fromisoformat(fields["ends_at"]),
    )
