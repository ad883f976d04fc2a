"""Accounts as the door sees them: by which company and mail address, and with which rights."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, select, text

from common.database import Database, Transaction
from gateway import tables
from gateway.built_in_roles import permissions_of

__all__ = [
    "LOGIN",
    "Account",
    "Person",
    "find_account",
    "find_person",
    "held_by",
    "lock_account",
    "roles_by_user",
    "roles_of_active",
    "together",
]

LOGIN = "account by company and mail address"

# One statement whoever exists, so that it takes as long.
_FIND = text("""
    SELECT users.tenant_id, users.id, users.password_hash,
           coalesce(tenants.state = 'active' AND users.state = 'active', false) AS open
    FROM (SELECT 1) AS one
    LEFT JOIN tenants ON tenants.slug = :slug
    LEFT JOIN users ON users.tenant_id = tenants.id AND users.email = :email
""")


@dataclass(frozen=True)
class Account:
    """A user who may log in, if they know the password."""

    tenant_id: UUID
    user_id: UUID
    password_hash: str


@dataclass(frozen=True)
class Person:
    """A user and their company, as a session shows them."""

    email: str
    name: str
    slug: str
    tenant_name: str
    password_hash: str


async def find_account(database: Database, slug: str, email: str) -> Account | None:
    """The account under these names; None when there is none that may log in."""
    async with database.system_transaction(LOGIN) as connection:
        found = await connection.execute(_FIND, {"slug": slug, "email": email})
        row = found.one()
    if not row.open or row.password_hash is None:
        return None
    return Account(row.tenant_id, row.id, row.password_hash)


async def lock_account(tx: Transaction, user_id: UUID) -> str | None:
    """The hash of an active user's password; they stay as they are until the transaction ends."""
    users = tables.users
    one = select(users.c.password_hash).where(users.c.id == user_id, users.c.state == "active")
    stored: str | None = await tx.scalar(one.with_for_update(read=True))
    return stored


async def held_by(tx: Transaction, user_id: UUID, *, lock: bool = False) -> frozenset[str]:
    """What a user's roles permit; with `lock` they stay so until the transaction ends."""
    roles = tables.roles
    statement = _roles_of([user_id])
    if lock:
        statement = statement.order_by(roles.c.id).with_for_update(read=True, of=roles)
    return together(await tx.rows(statement))


async def roles_by_user(tx: Transaction, user_ids: Sequence[UUID]) -> dict[UUID, list[Row[Any]]]:
    """The roles of users, by user: rows with `id`, `built_in` and `permissions`."""
    found: dict[UUID, list[Row[Any]]] = {}
    for row in await tx.rows(_roles_of(user_ids).order_by(tables.roles.c.id)):
        found.setdefault(row.user_id, []).append(row)
    return found


def roles_of_active(tenant_id: UUID, user_id: UUID) -> Select[Any]:
    """The query, over all tenants, for the roles of a user; none of one who is locked out."""
    users = tables.users
    active = (users.c.tenant_id == tenant_id) & (users.c.id == user_id)
    return (
        _roles_of([user_id])
        .join(users, active & (users.c.state == "active"))
        .where(tables.roles.c.tenant_id == tenant_id)
    )


def _roles_of(user_ids: Sequence[UUID]) -> Select[Any]:
    roles, links = tables.roles, tables.user_roles
    return (
        select(links.c.user_id, roles.c.id, roles.c.built_in, roles.c.permissions)
        .join(links, (links.c.tenant_id == roles.c.tenant_id) & (links.c.role_id == roles.c.id))
        .where(links.c.user_id.in_(user_ids))
    )


def together(roles: Iterable[Row[Any]]) -> frozenset[str]:
    """What roles permit together, by their columns `built_in` and `permissions`."""
    return frozenset().union(*(permissions_of(row.built_in, row.permissions) for row in roles))


async def find_person(tx: Transaction, user_id: UUID) -> Person | None:
    """A user with their company, None when there is no such user."""
    users, tenants = tables.users, tables.tenants
    row = await tx.row(
        select(
            users.c.email,
            users.c.name,
            users.c.password_hash,
            tenants.c.slug,
            tenants.c.name.label("tenant_name"),
        )
        .join(tenants, tenants.c.id == users.c.tenant_id)
        .where(users.c.id == user_id)
    )
    if row is None:
        return None
    return Person(row.email, row.name, row.slug, row.tenant_name, row.password_hash or "")
