"""Users: the people of a company who may log in."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, select
from sqlalchemy.dialects.postgresql import insert

from common import caller, ids
from common.database import Transaction, translating
from common.errors import NotFound
from common.listing import Listing
from common.optimistic import update_version
from common.pagination import Page
from common.sessions import Ending
from common.wire import enum_value, timestamp
from erp.gateway.v1.user_pb2 import User, UserState
from erp.gateway.v1.user_service_pb2 import ListUsersRequest
from gateway import tables
from gateway.accounts import held_by, roles_by_user, together
from gateway.api_tokens import REVOKED, revoke_tokens_of
from gateway.built_in_roles import ADMIN
from gateway.errors import EmailTaken, UserDeactivated
from gateway.permissions import demand_all
from gateway.roles import has_admin, keeping_an_admin, lock_roles
from gateway.setup_tokens import SetupToken

__all__ = [
    "NewUser",
    "add_admin",
    "create_user",
    "deactivate_user",
    "get_user",
    "invite_user",
    "list_users",
    "put_admin",
    "reactivate_user",
    "update_user",
]

_users, _roles, _links = tables.users, tables.roles, tables.user_roles
_LIST = Listing(ListUsersRequest, _users.c, "id")


@dataclass(frozen=True)
class NewUser:
    """A user to add."""

    email: str
    name: str
    role_ids: Sequence[UUID]
    # None when they are to choose a password themselves.
    password_hash: str | None


async def create_user(tx: Transaction, new: NewUser) -> User:
    """Add a user; the answer holds their setup token when they have no password.

    Raises:
        InvalidRequest: there is no such role.
        NotPermitted: a role permits what the caller may not.
        EmailTaken: there is a user with this mail address.
    """
    demand_all(caller.current(), await lock_roles(tx, new.role_ids))
    return await _add(tx, new)


async def add_admin(tx: Transaction, email: str, name: str, password_hash: str | None) -> User:
    """Add the first user of a new company, who may do everything there."""
    role_id = await tx.scalar(select(_roles.c.id).where(_roles.c.built_in == ADMIN))
    return await _add(tx, NewUser(email, name, [role_id], password_hash))


async def put_admin(tx: Transaction, email: str, password_hash: str) -> None:
    """Add a user who may do everything, or give the one with this mail address a new password."""
    values = {"password_hash": password_hash, "state": "active"}
    row = {"id": ids.new(), "email": email.lower(), **values}
    put = insert(_users).values(row).on_conflict_do_update(constraint="users_email", set_=values)
    user_id = await tx.scalar(put.returning(_users.c.id))
    role_id = await tx.scalar(select(_roles.c.id).where(_roles.c.built_in == ADMIN))
    link = insert(_links).values(user_id=user_id, role_id=role_id)
    await tx.execute(link.on_conflict_do_nothing())


async def get_user(tx: Transaction, user_id: UUID) -> User:
    """One user.

    Raises:
        NotFound: there is no such user.
    """
    row = await tx.row(select(_users).where(_users.c.id == user_id))
    if row is None:
        raise NotFound("user", user_id)
    return (await _to_wire(tx, [row]))[0]


async def list_users(tx: Transaction, page: Page) -> tuple[list[User], str]:
    """A page of users, oldest first, and what names the next page."""
    rows, next_page = await _LIST.read(tx, select(_users), page)
    return await _to_wire(tx, rows), next_page


async def update_user(
    tx: Transaction, ending: Ending, user_id: UUID, version: int, changes: Mapping[str, Any]
) -> User:
    """Change a user's name or, by `role_ids`, their roles; with other roles their sessions end.

    Raises:
        NotFound, ConcurrentModification: they are not there, or not as the caller knew them.
        InvalidRequest: there is no such role.
        NotPermitted: the user may, or is to, do what the caller may not.
        LastAdmin: nobody could do everything any more.
    """
    await _lock_below(tx, user_id)
    values = dict(changes)
    role_ids = values.pop("role_ids", None)
    row = await update_version(tx, _users, "user", user_id, version, values)
    if role_ids is not None:
        await _set_roles(tx, ending, user_id, role_ids)
    return (await _to_wire(tx, [row]))[0]


async def deactivate_user(tx: Transaction, ending: Ending, user_id: UUID) -> User:
    """Lock a user out: their sessions and tokens end.

    Raises:
        NotFound: there is no such user.
        NotPermitted: the user may do what the caller may not.
        LastAdmin: nobody could do everything any more.
    """
    await _lock_below(tx, user_id)
    had = await has_admin(tx)
    values = {"state": "deactivated", "setup_hash": None, "setup_expires_at": None}
    row = await update_version(tx, _users, "user", user_id, 0, values)
    await keeping_an_admin(tx, had=had)
    await ending.end(tx, user_ids=[user_id])
    await revoke_tokens_of(tx, user_id)
    return (await _to_wire(tx, [row]))[0]


async def reactivate_user(tx: Transaction, user_id: UUID) -> User:
    """Let a user in again, by the password they had.

    Raises:
        NotFound: there is no such user.
        NotPermitted: the user may do what the caller may not.
    """
    row = await _lock_below(tx, user_id)
    state = "active" if row.password_hash else "invited"
    row = await update_version(tx, _users, "user", user_id, 0, {"state": state})
    tx.outdate(REVOKED)
    return (await _to_wire(tx, [row]))[0]


async def invite_user(tx: Transaction, user_id: UUID) -> User:
    """Make a token with which a user chooses a new password.

    Raises:
        NotFound: there is no such user.
        NotPermitted: the user may do what the caller may not.
        UserDeactivated: they are locked out.
    """
    row = await _lock_below(tx, user_id)
    if row.state == "deactivated":
        raise UserDeactivated
    token = SetupToken.of(tx.tenant_id)
    row = await update_version(tx, _users, "user", user_id, 0, token.columns())
    (user,) = await _to_wire(tx, [row])
    user.setup_token = token.text
    return user


async def _add(tx: Transaction, new: NewUser) -> User:
    token = SetupToken.of(tx.tenant_id)
    row = {
        "id": ids.new(),
        "email": new.email.lower(),
        "name": new.name,
        "password_hash": new.password_hash,
        "state": "active" if new.password_hash else "invited",
    } | ({} if new.password_hash else token.columns())
    with translating({"users_email": EmailTaken(new.email)}):
        made = (await tx.execute(_users.insert().values(row).returning(_users))).one()
    await _link(tx, made.id, new.role_ids)
    (user,) = await _to_wire(tx, [made])
    if not new.password_hash:
        user.setup_token = token.text
    return user


async def _set_roles(
    tx: Transaction, ending: Ending, user_id: UUID, role_ids: Sequence[UUID]
) -> None:
    before = await held_by(tx, user_id)
    after = await lock_roles(tx, role_ids)
    demand_all(caller.current(), after)
    had = await has_admin(tx)
    await tx.execute(delete(_links).where(_links.c.user_id == user_id))
    await _link(tx, user_id, role_ids)
    await keeping_an_admin(tx, had=had)
    if before != after:
        await ending.end(tx, user_ids=[user_id])
        tx.outdate(REVOKED)


async def _link(tx: Transaction, user_id: UUID, role_ids: Collection[UUID]) -> None:
    if role_ids:
        rows = [{"user_id": user_id, "role_id": role_id} for role_id in role_ids]
        await tx.execute(_links.insert(), rows)


async def _lock_below(tx: Transaction, user_id: UUID) -> Row[Any]:
    """A user who may do nothing that the caller may not; nobody else changes them meanwhile."""
    row = await tx.row(select(_users).where(_users.c.id == user_id).with_for_update())
    if row is None:
        raise NotFound("user", user_id)
    demand_all(caller.current(), await held_by(tx, user_id, lock=True))
    return row


async def _to_wire(tx: Transaction, rows: Sequence[Row[Any]]) -> list[User]:
    held = await roles_by_user(tx, [row.id for row in rows])
    return [_user(row, held.get(row.id, [])) for row in rows]


def _user(row: Row[Any], roles: Sequence[Row[Any]]) -> User:
    return User(
        id=str(row.id),
        email=row.email,
        name=row.name,
        state=enum_value(UserState, row.state),
        role_ids=[str(role.id) for role in roles],
        permissions=sorted(together(roles)),
        version=row.version,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
    )
