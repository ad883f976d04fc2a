"""Roles: what users may do, by name. Nobody makes, changes or gives a role above their own."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, select, text

from common import caller, ids
from common.database import Transaction, translating
from common.errors import InvalidRequest, NotFound
from common.listing import Listing
from common.optimistic import update_version
from common.pagination import Page
from common.sessions import Ending
from common.wire import timestamp
from erp.gateway.v1.user_pb2 import Role
from erp.gateway.v1.user_service_pb2 import ListRolesRequest
from gateway import tables
from gateway.accounts import together
from gateway.api_tokens import REVOKED
from gateway.built_in_roles import ADMIN, BUILT_IN, permissions_of
from gateway.errors import BuiltInRole, LastAdmin, RoleInUse, RoleNameTaken
from gateway.permissions import demand_all, refuse_unknown

__all__ = [
    "add_built_in",
    "create_role",
    "delete_role",
    "get_role",
    "has_admin",
    "keeping_an_admin",
    "list_roles",
    "lock_roles",
    "update_role",
]

_roles, _links = tables.roles, tables.user_roles
_LIST = Listing(
    ListRolesRequest, _roles.c, "id", others={"built_in": _roles.c.built_in.is_not(None)}
)

# Whether somebody can still do everything.
_HAS_ADMIN = text("""
    SELECT EXISTS (
        SELECT 1 FROM users
        JOIN user_roles ON user_roles.tenant_id = users.tenant_id AND user_id = users.id
        JOIN roles ON roles.tenant_id = users.tenant_id AND roles.id = role_id
        WHERE users.state = 'active' AND (built_in = :admin OR '*' = ANY(roles.permissions)))
""")


async def add_built_in(tx: Transaction) -> None:
    """Give a new company the roles that every company has."""
    rows = [{"id": ids.new(), "name": name, "built_in": name} for name in BUILT_IN]
    await tx.execute(_roles.insert(), rows)


async def create_role(
    tx: Transaction, name: str, description: str, permissions: Sequence[str]
) -> Role:
    """Add a role.

    Raises:
        InvalidRequest: there is no such permission.
        NotPermitted: the caller does not hold one.
        RoleNameTaken: there is a role of this name.
    """
    refuse_unknown(permissions)
    demand_all(caller.current(), permissions)
    row = {
        "id": ids.new(),
        "name": name,
        "description": description,
        "permissions": sorted(set(permissions)),
    }
    with translating({"roles_name": RoleNameTaken(name)}):
        made = (await tx.execute(_roles.insert().values(row).returning(_roles))).one()
    return _to_wire(made)


async def get_role(tx: Transaction, role_id: UUID) -> Role:
    """One role.

    Raises:
        NotFound: there is no such role.
    """
    row = await tx.row(select(_roles).where(_roles.c.id == role_id))
    if row is None:
        raise NotFound("role", role_id)
    return _to_wire(row)


async def list_roles(tx: Transaction, page: Page) -> tuple[list[Role], str]:
    """A page of roles, oldest first, and what names the next page."""
    rows, next_page = await _LIST.read(tx, select(_roles), page)
    return [_to_wire(row) for row in rows], next_page


async def update_role(
    tx: Transaction, ending: Ending, role_id: UUID, version: int, changes: Mapping[str, Any]
) -> Role:
    """Change a role of the company's own; when it permits something else, its users' sessions end.

    Raises:
        NotFound, ConcurrentModification: it is not there, or not as the caller knew it.
        BuiltInRole: it is one that every company has.
        NotPermitted: the caller does not hold all that it permits, or is to permit.
        LastAdmin: nobody could do everything any more.
    """
    role = await _lock_own(tx, role_id)
    demand_all(caller.current(), role.permissions)
    values = dict(changes)
    if (permissions := values.get("permissions")) is not None:
        refuse_unknown(permissions)
        demand_all(caller.current(), permissions)
        values["permissions"] = sorted(set(permissions))
    had = await has_admin(tx)
    with translating({"roles_name": RoleNameTaken(str(values.get("name")))}):
        row = await update_version(tx, _roles, "role", role_id, version, values)
    await keeping_an_admin(tx, had=had)
    if row.permissions != role.permissions:
        await ending.end(tx, user_ids=await _users_of(tx, role_id))
        tx.outdate(REVOKED)
    return _to_wire(row)


async def delete_role(tx: Transaction, role_id: UUID) -> Role:
    """Remove a role that nobody has.

    Raises:
        NotFound: there is no such role.
        BuiltInRole: it is one that every company has.
        NotPermitted: the caller does not hold all that it permits.
        RoleInUse: somebody has it.
    """
    role = await _lock_own(tx, role_id)
    demand_all(caller.current(), role.permissions)
    with translating({"user_roles_role": RoleInUse(role.name)}):
        await tx.execute(delete(_roles).where(_roles.c.id == role_id))
    return _to_wire(role)


async def lock_roles(tx: Transaction, role_ids: Collection[UUID]) -> frozenset[str]:
    """What these roles permit together, which stays so until the transaction ends.

    Raises:
        InvalidRequest: one does not exist.
    """
    statement = select(_roles).where(_roles.c.id.in_(role_ids)).order_by(_roles.c.id)
    rows = await tx.rows(statement.with_for_update(read=True))
    if len(rows) < len(set(role_ids)):
        raise InvalidRequest.of("/role_ids", "must name roles of this company")
    return together(rows)


async def has_admin(tx: Transaction) -> bool:
    """Whether an active user can do everything. Asked by one transaction of a company at a time."""
    one = select(_roles.c.id).where(_roles.c.built_in == ADMIN)
    await tx.execute(one.with_for_update())
    return bool(await tx.scalar(_HAS_ADMIN, {"admin": ADMIN}))


async def keeping_an_admin(tx: Transaction, *, had: bool) -> None:
    """Refuse a change after which nobody can do everything, if somebody could before.

    Raises:
        LastAdmin: nobody can.
    """
    if had and not await tx.scalar(_HAS_ADMIN, {"admin": ADMIN}):
        raise LastAdmin


async def _lock_own(tx: Transaction, role_id: UUID) -> Row[Any]:
    row = await tx.row(select(_roles).where(_roles.c.id == role_id).with_for_update())
    if row is None:
        raise NotFound("role", role_id)
    if row.built_in:
        raise BuiltInRole(row.name)
    return row


async def _users_of(tx: Transaction, role_id: UUID) -> list[UUID]:
    """The users who have a role."""
    found = await tx.rows(select(_links.c.user_id).where(_links.c.role_id == role_id))
    return [row.user_id for row in found]


def _to_wire(row: Row[Any]) -> Role:
    built_in = BUILT_IN.get(row.built_in)
    return Role(
        id=str(row.id),
        name=row.name,
        description=built_in.description if built_in else row.description,
        permissions=sorted(permissions_of(row.built_in, row.permissions)),
        built_in=built_in is not None,
        version=row.version,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
    )
