"""Wire in, wire out: companies, for the platform's operators."""

from typing import Any

from common import ids
from common.database import Database
from common.pagination import Page
from erp.gateway.v1 import tenant_pb2 as pb
from erp.gateway.v1 import tenant_service_pb2 as api
from erp.gateway.v1 import tenant_service_pb2_grpc as rpc
from gateway.operators import NewAdmin, Operators, list_actions
from gateway.passwords import Passwords
from gateway.plans import DEFAULT, demand_plan
from gateway.settling_in import SettlingIn
from gateway.tenants import NewTenant

__all__ = ["TenantServicer"]

_CHANGEABLE = ("name", "plan")


class TenantServicer(rpc.TenantServiceServicer):
    """Companies. Every rule lives in operators.py and tenants.py."""

    def __init__(self, database: Database, passwords: Passwords, settling_in: SettlingIn) -> None:
        self._database = database
        self._operators = Operators(database)
        self._passwords = passwords
        self._settling_in = settling_in

    async def CreateTenant(self, request: api.CreateTenantRequest, context: Any) -> pb.Tenant:
        """Create a company."""
        password = request.admin.password
        hashed = await self._passwords.hash(password) if password else None
        admin = NewAdmin(request.admin.email, request.admin.name, hashed)
        demand_plan(plan := request.plan or DEFAULT)
        new = NewTenant(
            request.slug,
            request.name,
            request.currency_code,
            plan,
            request.warehouse.code or "MAIN",
            request.warehouse.name or "Main warehouse",
        )
        return await self._operators.create(new, admin, self._settling_in.all, request.reason)

    async def GetTenant(self, request: api.GetTenantRequest, context: Any) -> pb.Tenant:
        """Read a company."""
        tenant_id = ids.parse(request.id, "id")
        tenant = await self._operators.get(tenant_id)
        tenant.awaiting.extend(await self._settling_in.awaiting(tenant_id))
        return tenant

    async def ListTenants(
        self, request: api.ListTenantsRequest, context: Any
    ) -> api.ListTenantsResponse:
        """List companies."""
        tenants, next_page = await self._operators.list(Page.from_wire(request))
        return api.ListTenantsResponse(tenants=tenants, next_page_token=next_page)

    async def UpdateTenant(self, request: api.UpdateTenantRequest, context: Any) -> pb.Tenant:
        """Change a company."""
        named = request.update_mask.paths
        changes = {name: getattr(request, name) for name in _CHANGEABLE if name in named}
        changes = {name: value for name, value in changes.items() if value}
        if "plan" in changes:
            demand_plan(changes["plan"])
        tenant_id = ids.parse(request.id, "id")
        return await self._operators.change(tenant_id, request.version, changes, request.reason)

    async def SuspendTenant(self, request: api.SuspendTenantRequest, context: Any) -> pb.Tenant:
        """Keep a company out."""
        tenant_id = ids.parse(request.id, "id")
        return await self._operators.set_state(tenant_id, "suspended", request.reason)

    async def ResumeTenant(self, request: api.ResumeTenantRequest, context: Any) -> pb.Tenant:
        """Let a company in again."""
        tenant_id = ids.parse(request.id, "id")
        return await self._operators.set_state(tenant_id, "active", request.reason)

    async def ListOperatorActions(
        self, request: api.ListOperatorActionsRequest, context: Any
    ) -> api.ListOperatorActionsResponse:
        """List what operators did to the caller's company."""
        async with self._database.read_transaction() as tx:
            actions, next_page = await list_actions(tx, Page.from_wire(request))
        return api.ListOperatorActionsResponse(operator_actions=actions, next_page_token=next_page)
