"""How companies stand: on which plan, and whether they are suspended; asked once in a while."""

import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select

from common.caller import acting_as, service_caller
from common.database import Database
from common.errors import DomainError, Unauthenticated
from common.flights import Flights
from gateway import tables
from gateway.api_tokens import REVOKED
from gateway.credentials import CACHED_SECONDS, KEPT_SECONDS
from gateway.errors import TenantSuspended

__all__ = ["Standing", "Standings", "find_standing"]

_MOST_KNOWN = 10_000


@dataclass(frozen=True)
class Standing:
    """How one company stands."""

    plan: str
    state: str


Find = Callable[[UUID], Awaitable[Standing | None]]


class Standings:
    """Knows how companies stand, two seconds late at most while Redis is away.

    Args:
        find: asks the database.
    """

    def __init__(self, find: Find) -> None:
        self._find = find
        self._known: OrderedDict[UUID, tuple[Standing | None, float]] = OrderedDict()
        self._flights: Flights[Standing | None] = Flights()
        self._forgotten = 0

    async def plan_of(self, tenant_id: UUID) -> str:
        """The plan of a company in good standing.

        Raises:
            TenantSuspended: it is not.
            Unavailable: the database is away, and the company has not been seen lately.
        """
        standing = await self._of(tenant_id)
        if standing is None:
            raise Unauthenticated("This credential is not valid, or no longer.")
        if standing.state != "active":
            raise TenantSuspended
        return standing.plan

    def hear(self, flushed: Sequence[str]) -> None:
        """Heed the keys of tags that some process flushed."""
        if any(key.endswith(f":{REVOKED}") for key in flushed):
            self._forgotten += 1
            self._known.clear()

    async def _of(self, tenant_id: UUID) -> Standing | None:
        known, checked = self._known.get(tenant_id, (None, 0.0))
        age = time.monotonic() - checked if checked else float("inf")
        if age < CACHED_SECONDS:
            return known
        try:
            return await self._flights.join(str(tenant_id), lambda: self._look(tenant_id))
        except DomainError:
            if age < KEPT_SECONDS:
                return known
            raise

    async def _look(self, tenant_id: UUID) -> Standing | None:
        checked, forgotten = time.monotonic(), self._forgotten
        standing = await self._find(tenant_id)
        if forgotten == self._forgotten:
            self._known[tenant_id] = (standing, checked)
            if len(self._known) > _MOST_KNOWN:
                self._known.popitem(last=False)
        return standing


async def find_standing(database: Database, tenant_id: UUID) -> Standing | None:
    """How a company stands; None when there is no such company."""
    tenants = tables.tenants
    with acting_as(service_caller("gateway", tenant_id)):
        async with database.read_transaction(fresh=True) as tx:
            row = await tx.row(select(tenants.c.plan, tenants.c.state))
    return Standing(row.plan, row.state) if row else None
