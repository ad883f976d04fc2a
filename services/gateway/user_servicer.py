"""Wire in, wire out: users, roles and permissions."""

from typing import Any

from common import ids
from common.database import Database
from common.pagination import Page
from erp.gateway.v1 import user_pb2 as pb
from erp.gateway.v1 import user_service_pb2 as api
from erp.gateway.v1 import user_service_pb2_grpc as rpc
from gateway import permissions, roles, users
from gateway.passwords import Passwords
from gateway.privileges import Privileges
from gateway.users import NewUser
from gateway.visits import visit_of

__all__ = ["UserServicer"]


class UserServicer(rpc.UserServiceServicer):
    """People and what they may do. Every rule lives in users.py and roles.py."""

    def __init__(self, database: Database, passwords: Passwords, privileges: Privileges) -> None:
        self._database = database
        self._passwords = passwords
        self._privileges = privileges

    async def CreateUser(self, request: api.CreateUserRequest, context: Any) -> pb.User:
        """Add a user."""
        password = request.password
        hashed = await self._passwords.hash(password) if password else None
        new = NewUser(request.email, request.name, _role_ids(request), hashed)
        return await self._database.run(lambda tx: users.create_user(tx, new))

    async def GetUser(self, request: api.GetUserRequest, context: Any) -> pb.User:
        """Read a user."""
        user_id = ids.parse(request.id, "id")
        return await self._database.read(lambda tx: users.get_user(tx, user_id))

    async def ListUsers(self, request: api.ListUsersRequest, context: Any) -> api.ListUsersResponse:
        """List users."""
        async with self._database.read_transaction() as tx:
            found, next_page = await users.list_users(tx, Page.from_wire(request))
        return api.ListUsersResponse(users=found, next_page_token=next_page)

    async def UpdateUser(self, request: api.UpdateUserRequest, context: Any) -> pb.User:
        """Change a user."""
        user_id = ids.parse(request.id, "id")
        changes: dict[str, Any] = {path: getattr(request, path) for path in _mask(request)}
        if "role_ids" in changes:
            changes["role_ids"] = _role_ids(request)
        return await self._privileges.change(
            lambda tx, ending: users.update_user(tx, ending, user_id, request.version, changes),
            visit_of(context),
        )

    async def DeactivateUser(self, request: api.DeactivateUserRequest, context: Any) -> pb.User:
        """Lock a user out."""
        user_id = ids.parse(request.id, "id")
        return await self._privileges.change(
            lambda tx, ending: users.deactivate_user(tx, ending, user_id), visit_of(context)
        )

    async def ReactivateUser(self, request: api.ReactivateUserRequest, context: Any) -> pb.User:
        """Let a user in again."""
        user_id = ids.parse(request.id, "id")
        return await self._database.run(lambda tx: users.reactivate_user(tx, user_id))

    async def InviteUser(self, request: api.InviteUserRequest, context: Any) -> pb.User:
        """Make a token with which a user chooses a password."""
        user_id = ids.parse(request.id, "id")
        return await self._database.run(lambda tx: users.invite_user(tx, user_id))

    async def CreateRole(self, request: api.CreateRoleRequest, context: Any) -> pb.Role:
        """Add a role."""
        asked = (request.name, request.description, request.permissions)
        return await self._database.run(lambda tx: roles.create_role(tx, *asked))

    async def GetRole(self, request: api.GetRoleRequest, context: Any) -> pb.Role:
        """Read a role."""
        role_id = ids.parse(request.id, "id")
        return await self._database.read(lambda tx: roles.get_role(tx, role_id))

    async def ListRoles(self, request: api.ListRolesRequest, context: Any) -> api.ListRolesResponse:
        """List roles."""
        async with self._database.read_transaction() as tx:
            found, next_page = await roles.list_roles(tx, Page.from_wire(request))
        return api.ListRolesResponse(roles=found, next_page_token=next_page)

    async def UpdateRole(self, request: api.UpdateRoleRequest, context: Any) -> pb.Role:
        """Change a role."""
        role_id = ids.parse(request.id, "id")
        changes: dict[str, Any] = {path: getattr(request, path) for path in _mask(request)}
        if "permissions" in changes:
            changes["permissions"] = list(request.permissions)
        return await self._privileges.change(
            lambda tx, ending: roles.update_role(tx, ending, role_id, request.version, changes),
            visit_of(context),
        )

    async def DeleteRole(self, request: api.DeleteRoleRequest, context: Any) -> pb.Role:
        """Remove a role."""
        role_id = ids.parse(request.id, "id")
        return await self._database.run(lambda tx: roles.delete_role(tx, role_id))

    async def ListPermissions(
        self, request: api.ListPermissionsRequest, context: Any
    ) -> api.ListPermissionsResponse:
        """List permissions."""
        shown = permissions.routes_by_permission()
        return api.ListPermissionsResponse(
            permissions=[pb.Permission(name=name, routes=routes) for name, routes in shown]
        )


def _role_ids(request: api.CreateUserRequest | api.UpdateUserRequest) -> list[Any]:
    return [ids.parse(text, "role_ids") for text in request.role_ids]


def _mask(request: api.UpdateUserRequest | api.UpdateRoleRequest) -> list[str]:
    known = {field.name for field in request.DESCRIPTOR.fields} - {"id", "version", "update_mask"}
    return [path for path in request.update_mask.paths if path in known]
