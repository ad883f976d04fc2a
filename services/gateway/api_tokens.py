"""API tokens: secrets that stand for a tenant's software. Only their SHA-256 is stored."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, or_, select, update

from common import caller, ids
from common.caller import Caller
from common.database import Database, Transaction
from common.listing import Listing
from common.pagination import Page
from common.wire import timestamp
from erp.gateway.v1 import gateway_service_pb2
from erp.gateway.v1.gateway_pb2 import ApiToken
from gateway import tables
from gateway.accounts import roles_of_active, together
from gateway.errors import ApiTokenNotFound
from gateway.permissions import granted, meet

LOOKUP = "api token by its hash"
# The cache's tag that a revocation flushes.
REVOKED = "api-tokens"
# "kv_" and 256 bits in base64url: known at sight, to people and to scanners for leaked secrets.
SHAPE = re.compile(rb"kv_[A-Za-z0-9_-]{43}")
_PREFIX_LENGTH = 10

_tokens = tables.api_tokens
_LIST = Listing(gateway_service_pb2.ListApiTokensRequest, _tokens.c, "id")


@dataclass(frozen=True)
class Holder:
    """Whom a token stands for."""

    token_id: UUID
    tenant_id: UUID
    permissions: frozenset[str]
    expires_at: datetime | None
    # The tenant's plan.
    plan: str
    # Whether the tenant is.
    suspended: bool = False


async def create_token(
    tx: Transaction, name: str, permissions: Sequence[str], expires_at: datetime | None = None
) -> ApiToken:
    """Make a token for the caller's tenant; the secret is in the result and nowhere else.

    Args:
        tx: the transaction to join.
        name: what it is for.
        permissions: what it may do; all that the caller may when empty.
        expires_at: when it stops working; never when absent.

    Raises:
        InvalidRequest: there is no such permission.
        NotPermitted: the caller does not hold it.
    """
    who = caller.current()
    permissions, user_id = granted(who, permissions), await _user_of(tx, who)
    secret = "kv_" + secrets.token_urlsafe(32)
    row = {
        "id": ids.new(),
        "name": name,
        "hash": hash_of(secret.encode()),
        "prefix": secret[:_PREFIX_LENGTH],
        "permissions": permissions,
        "created_by": who.subject,
        "user_id": user_id,
        "expires_at": expires_at,
    }
    made = await tx.row(_tokens.insert().values(row).returning(_tokens))
    assert made is not None
    token = _to_wire(made)
    token.token = secret
    return token


async def list_tokens(tx: Transaction, page: Page) -> tuple[list[ApiToken], str]:
    """A page of the tenant's tokens, oldest first, and what names the next page."""
    statement = select(_tokens).where(_tokens.c.revoked_at.is_(None))
    rows, next_page = await _LIST.read(tx, statement, page)
    return [_to_wire(row) for row in rows], next_page


async def revoke_token(tx: Transaction, token_id: UUID) -> ApiToken:
    """Make a token useless.

    Raises:
        ApiTokenNotFound: there is none, or it was revoked before.
    """
    tx.outdate(REVOKED)
    row = await tx.row(_revocation().where(_tokens.c.id == token_id).returning(_tokens))
    if row is None:
        raise ApiTokenNotFound("API token", token_id)
    return _to_wire(row)


async def revoke_tokens_named(tx: Transaction, name: str) -> None:
    """Make all tokens of this name useless."""
    tx.outdate(REVOKED)
    await tx.execute(_revocation().where(_tokens.c.name == name))


async def revoke_tokens_of(tx: Transaction, user_id: UUID) -> None:
    """Make all tokens useless that a user has made, also those made by such tokens."""
    tx.outdate(REVOKED)
    await tx.execute(_revocation().where(_tokens.c.user_id == user_id))


async def find_holder(database: Database, token_hash: bytes) -> Holder | None:
    """Whom the token with this hash stands for; None when it is unknown, expired or revoked."""
    statement = (
        select(
            _tokens.c.id,
            _tokens.c.tenant_id,
            _tokens.c.permissions,
            _tokens.c.expires_at,
            tables.tenants.c.plan,
            tables.tenants.c.state,
            _tokens.c.user_id,
        )
        .join(tables.tenants, tables.tenants.c.id == _tokens.c.tenant_id)
        .where(
            _tokens.c.hash == token_hash,
            _tokens.c.revoked_at.is_(None),
            or_(_tokens.c.expires_at.is_(None), _tokens.c.expires_at > func.now()),
        )
    )
    async with database.system_transaction(LOOKUP) as connection:
        row = (await connection.execute(statement)).one_or_none()
        if row is None:
            return None
        permissions = frozenset(row.permissions)
        if row.user_id is not None:
            bound = await connection.execute(roles_of_active(row.tenant_id, row.user_id))
            permissions = meet(permissions, together(bound))
    suspended = row.state != "active"
    return Holder(row.id, row.tenant_id, permissions, row.expires_at, row.plan, suspended)


def hash_of(secret: bytes) -> bytes:
    """What is stored of a token. Its 256 random bits need neither salt nor slowness."""
    return hashlib.sha256(secret).digest()


async def _user_of(tx: Transaction, who: Caller) -> UUID | None:
    """The user that a caller is, or whose token it is; none for what no user has made."""
    kind, _, name = who.subject.partition(":")
    if kind == "token":
        made_by: UUID | None = await tx.scalar(
            select(_tokens.c.user_id).where(_tokens.c.id == UUID(name))
        )
        return made_by
    return UUID(name) if kind == "user" else None


def _revocation() -> Any:
    return update(_tokens).where(_tokens.c.revoked_at.is_(None)).values(revoked_at=func.now())


def _to_wire(row: Row[Any]) -> ApiToken:
    return ApiToken(
        id=str(row.id),
        name=row.name,
        prefix=row.prefix,
        permissions=row.permissions,
        expire_time=timestamp(row.expires_at),
        create_time=timestamp(row.created_at),
    )
