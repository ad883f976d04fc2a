"""What the platform's operators do to companies. Each act is recorded where the company can see it.

An operator's own company is the platform. Acting on another one is an explicit override: it runs as
the operator, in a transaction of that company, together with its record.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Row, select

from common import caller, ids
from common.caller import acting_as
from common.database import Database, Transaction
from common.errors import NotFound
from common.listing import Listing
from common.optimistic import update_version
from common.pagination import Page
from common.wire import enum_value, timestamp
from erp.gateway.v1 import tenant_pb2 as pb
from erp.gateway.v1 import tenant_service_pb2 as api
from erp.gateway.v1.tenant_data_pb2 import TenantExport
from gateway import tables, tenant_exports
from gateway.api_tokens import REVOKED
from gateway.errors import TenantDeleted
from gateway.platform import PLATFORM
from gateway.tenants import NewTenant, create_tenant
from gateway.users import add_admin

__all__ = ["SYSTEM_REASON", "NewAdmin", "Operators", "list_actions"]

SYSTEM_REASON = "companies for the platform's operators"

Answer = TypeVar("Answer")

_tenants, _actions = tables.tenants, tables.operator_actions
_LIST = Listing(api.ListTenantsRequest, _tenants.c, "id")
_ACTIONS = Listing(api.ListOperatorActionsRequest, _actions.c, "id")


@dataclass(frozen=True)
class NewAdmin:
    """The first user of a company."""

    email: str
    name: str
    # None when they are to choose a password themselves.
    password_hash: str | None


class Operators:
    """Acts on companies.

    Args:
        database: the gateway's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def create(
        self, new: NewTenant, admin: NewAdmin, awaiting: Sequence[str], reason: str
    ) -> pb.Tenant:
        """Make room for a company, with its first user; the services in `awaiting` do so later.

        Raises:
            TenantExists: the short name is taken.
            InvalidRequest: there is no such currency.
        """

        async def work(tx: Transaction) -> pb.Tenant:
            await create_tenant(tx, new)
            user = await add_admin(tx, admin.email, admin.name, admin.password_hash)
            await _record(tx, "create", f"{new.slug}, plan {new.plan}", reason)
            tenant = _to_wire(await _lock(tx))
            tenant.admin.id, tenant.admin.email = user.id, user.email
            tenant.admin.setup_token = user.setup_token
            tenant.awaiting.extend(awaiting)
            return tenant

        return await self._act_on(ids.new(), work)

    async def get(self, tenant_id: UUID) -> pb.Tenant:
        """One company.

        Raises:
            NotFound: there is no such company.
        """
        return _to_wire(await self.look_at(tenant_id))

    async def look_at(self, tenant_id: UUID) -> Row[Any]:
        """The row of a company.

        Raises:
            NotFound: there is no such company.
        """
        with acting_as(_operator_in(tenant_id)):
            async with self._database.read_transaction(fresh=True) as tx:
                row = await tx.row(select(_tenants))
        if row is None or tenant_id == PLATFORM:
            raise NotFound("tenant", tenant_id)
        return row

    async def list(self, page: Page) -> tuple[list[pb.Tenant], str]:
        """A page of companies, oldest first, and what names the next page."""
        statement = _LIST.limited(select(_tenants).where(_tenants.c.id != PLATFORM), page)
        async with self._database.system_transaction(SYSTEM_REASON) as connection:
            found = (await connection.execute(statement)).all()
        rows, next_page = _LIST.cut(found, page)
        return [_to_wire(row) for row in rows], next_page

    async def change(
        self, tenant_id: UUID, version: int, changes: Mapping[str, Any], reason: str
    ) -> pb.Tenant:
        """Change a company's name or plan.

        Raises:
            NotFound, ConcurrentModification: it is not there, or not as the caller knew it.
            TenantDeleted: it is no more.
        """

        async def work(tx: Transaction) -> pb.Tenant:
            before = await _lock(tx)
            row = await update_version(tx, _tenants, "tenant", tenant_id, version, changes)
            said = [f"{name}: {getattr(before, name)} -> {new}" for name, new in changes.items()]
            await _record(tx, "change", ", ".join(said), reason)
            tx.outdate(REVOKED)
            return _to_wire(row)

        return await self._act_on(tenant_id, work)

    async def set_state(self, tenant_id: UUID, state: str, reason: str) -> pb.Tenant:
        """Keep a company out ("suspended"), or let it in again ("active"); twice is like once.

        Raises:
            NotFound: there is no such company.
            TenantDeleted: it is no more.
        """

        async def work(tx: Transaction) -> pb.Tenant:
            row = await _lock(tx)
            if row.state != state:
                values = {"state": state}
                row = await update_version(tx, _tenants, "tenant", tenant_id, 0, values)
                action = "suspend" if state == "suspended" else "resume"
                await _record(tx, action, "", reason)
                tx.outdate(REVOKED)
            return _to_wire(row)

        return await self._act_on(tenant_id, work)

    async def export(self, tenant_id: UUID, reason: str) -> TenantExport:
        """Have all that is held of a company written to an archive.

        Raises:
            NotFound: there is no such company.
            TenantDeleted: it is no more.
        """

        async def work(tx: Transaction) -> TenantExport:
            await _lock(tx)
            export = await tenant_exports.create(tx)
            await _record(tx, "export", export.id, reason)
            return export

        return await self._act_on(tenant_id, work)

    async def look_at_export(self, tenant_id: UUID, export_id: UUID, part: int) -> TenantExport:
        """How far an export of a company is, with a part of its archive.

        Raises:
            NotFound: there is no such export.
            InvalidRequest: it has no such part.
        """
        with acting_as(_operator_in(tenant_id)):
            return await self._database.read(lambda tx: tenant_exports.get(tx, export_id, part))

    async def _act_on(
        self, tenant_id: UUID, work: Callable[[Transaction], Awaitable[Answer]]
    ) -> Answer:
        # The answer to the operator is kept in the same transaction.
        with acting_as(_operator_in(tenant_id)):
            return await self._database.run(work)


async def list_actions(tx: Transaction, page: Page) -> tuple[list[pb.OperatorAction], str]:
    """A page of what operators did to the caller's company, oldest first, and the next page."""
    rows, next_page = await _ACTIONS.read(tx, select(_actions), page)
    return [
        pb.OperatorAction(
            id=str(row.id),
            operator=row.operator,
            action=row.action,
            detail=row.detail,
            reason=row.reason,
            request_id=row.request_id,
            create_time=timestamp(row.created_at),
        )
        for row in rows
    ], next_page


def _operator_in(tenant_id: UUID) -> caller.Caller:
    return replace(caller.current(), tenant_id=tenant_id)


async def _lock(tx: Transaction) -> Row[Any]:
    row = await tx.row(select(_tenants).with_for_update())
    if row is None or tx.tenant_id == PLATFORM:
        raise NotFound("tenant", tx.tenant_id)
    if row.state == "deleted":
        raise TenantDeleted(row.slug)
    return row


async def _record(tx: Transaction, action: str, detail: str, reason: str) -> None:
    who = caller.current()
    row = {
        "id": ids.new(),
        "operator": who.subject,
        "action": action,
        "detail": detail,
        "reason": reason,
        "request_id": who.request_id,
    }
    await tx.execute(_actions.insert().values(row))


def _to_wire(row: Row[Any]) -> pb.Tenant:
    return pb.Tenant(
        id=str(row.id),
        slug=row.slug,
        name=row.name,
        currency_code=row.currency_code,
        plan=row.plan,
        state=enum_value(pb.TenantState, row.state),
        version=row.version,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
    )
