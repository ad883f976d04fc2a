"""Tokens with which users choose a password, once: who is invited, or has forgotten theirs."""

import base64
import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Self
from uuid import UUID

from sqlalchemy import func, update

from common.database import Transaction
from gateway import tables
from gateway.errors import SetupTokenInvalid

__all__ = ["SetupToken", "open_account"]

LIFETIME = timedelta(hours=72)
_SHAPE = re.compile(r"kvs_[A-Za-z0-9_-]{64}")
_PREFIX = "kvs_"
_SECRET_BYTES = 32

_users = tables.users


@dataclass(frozen=True)
class SetupToken:
    """A token, with the company that it claims to be of."""

    tenant_id: UUID
    # What is stored of it.
    hash: bytes
    # The secret itself.
    text: str

    @classmethod
    def of(cls, tenant_id: UUID) -> Self:
        """A new one for a user of this company."""
        content = tenant_id.bytes + secrets.token_bytes(_SECRET_BYTES)
        text = _PREFIX + base64.urlsafe_b64encode(content).decode()
        return cls(tenant_id, _hash(text), text)

    @classmethod
    def read(cls, text: str) -> Self:
        """What somebody sent.

        Raises:
            SetupTokenInvalid: it cannot be one.
        """
        if not _SHAPE.fullmatch(text):
            raise SetupTokenInvalid
        content = base64.urlsafe_b64decode(text.removeprefix(_PREFIX))
        return cls(UUID(bytes=content[:16]), _hash(text), text)

    def columns(self) -> dict[str, object]:
        """What to store with the user."""
        return {"setup_hash": self.hash, "setup_expires_at": datetime.now(UTC) + LIFETIME}


async def open_account(tx: Transaction, token: SetupToken, password_hash: str) -> UUID:
    """Give the token's user this password; the token is used up. The user's id.

    Raises:
        SetupTokenInvalid: it is not valid, or no longer.
    """
    change = (
        update(_users)
        .where(
            _users.c.setup_hash == token.hash,
            _users.c.setup_expires_at > func.now(),
            _users.c.state != "deactivated",
        )
        .values(
            password_hash=password_hash,
            state="active",
            setup_hash=None,
            setup_expires_at=None,
            version=_users.c.version + 1,
            updated_at=func.now(),
        )
    )
    user_id: UUID | None = await tx.scalar(change.returning(_users.c.id))
    if user_id is None:
        raise SetupTokenInvalid
    return user_id


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
