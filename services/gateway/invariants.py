"""The promises of the whole system, checked on one tenant: inside each service and between them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import text

from common import caller
from common.caller import acting_as, service_caller
from common.database import Database
from erp.audit.v1 import audit_pb2 as pb
from erp.events.v1.events_pb2 import ReadRequest, ReadResponse
from erp.sales.v1.events_pb2 import OrderConfirmed
from gateway.order_streams import Window, windows

SALES = "sales"
# What a confirmed order leaves behind in other services.
TRACES = {"inventory": "reservation", "accounting": "invoice"}
# The lane in which both hear of confirmed orders.
_LANE = "high"
_MOST_IDS = 100
_SUBJECTS = 1000

_HEAD = text("SELECT sequence FROM event_heads WHERE tenant_id = :tenant_id")


class Auditor(Protocol):
    """The audit side of a service."""

    def CheckInvariants(self, request: pb.CheckInvariantsRequest) -> Awaitable[Any]: ...  # noqa: N802, D102

    def ListOrders(self, request: pb.ListOrdersRequest) -> Awaitable[Any]: ...  # noqa: N802, D102

    def ListPositions(self, request: pb.ListPositionsRequest) -> Awaitable[Any]: ...  # noqa: N802, D102


class EventLog(Protocol):
    """The events of a service."""

    def Read(self, request: ReadRequest) -> Awaitable[ReadResponse]: ...  # noqa: N802, D102


class Invariants:
    """Compares what the services know about each other's work.

    Work goes on meanwhile, so a difference counts only if it cannot be explained by an event that
    is still on its way: positions are read before what they are compared with.

    Args:
        auditors: the services by name.
        sales_log: says which confirmations another service has not come to yet.
        own_head: sequence of the gateway's own newest event for the caller's tenant.
        untouched: what the seals of the audit log say.
    """

    def __init__(
        self,
        auditors: Mapping[str, Auditor],
        sales_log: EventLog,
        own_head: Callable[[], Awaitable[int]],
        untouched: Callable[[], Awaitable[list[pb.Violation]]],
    ) -> None:
        self._untouched = untouched
        self._auditors = auditors
        self._sales_log = sales_log
        self._own_head = own_head

    async def check(self) -> list[pb.Violation]:
        """What does not hold for the caller's tenant; empty when all does."""
        who = caller.current()
        with acting_as(service_caller("gateway", who.tenant_id, who.request_id)):
            positions = await self._positions()
            found = await asyncio.gather(
                *(self._inside(service) for service in self._auditors),
                self._ahead(positions),
                self._between(positions),
                self._untouched(),
            )
        return [violation for violations in found for violation in violations]

    async def _inside(self, service: str) -> Sequence[pb.Violation]:
        answer = await self._auditors[service].CheckInvariants(pb.CheckInvariantsRequest())
        return list(answer.violations)

    async def _positions(self) -> dict[str, pb.ListPositionsResponse]:
        asked = (a.ListPositions(pb.ListPositionsRequest()) for a in self._auditors.values())
        return dict(zip(self._auditors, await asyncio.gather(*asked), strict=True))

    async def _ahead(self, positions: Mapping[str, pb.ListPositionsResponse]) -> list[pb.Violation]:
        """Listeners that have come further than what they listen to."""
        own_head, later = await asyncio.gather(self._own_head(), self._positions())
        heads = {service: answer.head for service, answer in later.items()} | {"gateway": own_head}
        return [
            pb.Violation(
                rule="positions_not_beyond_heads",
                service=service,
                ids=[position.listener],
                detail=f"at {position.sequence} of {position.source}'s {heads[position.source]}",
            )
            for service, answer in positions.items()
            for position in answer.positions
            if position.sequence > heads.get(position.source, position.sequence)
        ]

    async def _between(
        self, positions: Mapping[str, pb.ListPositionsResponse]
    ) -> list[pb.Violation]:
        """Confirmed orders without their traces, and traces without a confirmed order."""
        findings = {service: _Findings(service) for service in TRACES}
        async for window in self._windows():
            for service, finding in findings.items():
                missing = window[SALES] - window[service]
                finding.add(missing=missing - await self._coming(missing, positions[service]))
                stray = window[service] - window[SALES]
                finding.add(stray=stray - await self._confirmed_after(stray, 0))
        return [violation for finding in findings.values() for violation in finding.violations()]

    def _windows(self) -> AsyncIterator[Window]:
        return windows({service: self._auditors[service] for service in (SALES, *TRACES)})

    async def _coming(self, orders: set[str], at: pb.ListPositionsResponse) -> set[str]:
        """Those whose confirmation the service had not come to when it was asked."""
        from_sales = [position for position in at.positions if position.source == SALES]
        ours = [position for position in from_sales if position.listener == _LANE] or from_sales
        return await self._confirmed_after(orders, min((p.sequence for p in ours), default=0))

    async def _confirmed_after(self, orders: set[str], position: int) -> set[str]:
        found: set[str] = set()
        subjects = sorted(orders)
        for start in range(0, len(subjects), _SUBJECTS):
            found |= await self._read_confirmed(subjects[start : start + _SUBJECTS], position)
        return found

    async def _read_confirmed(self, subjects: Sequence[str], position: int) -> set[str]:
        found: set[str] = set()
        kind = OrderConfirmed.DESCRIPTOR.full_name
        while True:
            request = ReadRequest(after=position, types=[kind], subjects=subjects, limit=1000)
            answer = await self._sales_log.Read(request)
            found.update(event.subject for event in answer.events)
            if len(answer.events) < request.limit:
                return found
            position = answer.position


class _Findings:
    """What is wrong between sales and another service, with a few examples of each."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._orders: dict[str, set[str]] = {"missing": set(), "stray": set()}
        self._counts = {"missing": 0, "stray": 0}

    def add(self, **found: set[str]) -> None:
        for kind, orders in found.items():
            self._counts[kind] += len(orders)
            room = _MOST_IDS - len(self._orders[kind])
            self._orders[kind].update(sorted(orders)[:room])

    def violations(self) -> list[pb.Violation]:
        trace = TRACES[self._service]
        details = {
            "missing": f"{self._counts['missing']} confirmed orders have no {trace}",
            "stray": f"{self._counts['stray']} orders have a {trace} and were never confirmed",
        }
        rules = {"missing": f"one_{trace}_per_order", "stray": f"no_{trace}_without_order"}
        return [
            pb.Violation(
                rule=rules[kind], service=self._service, ids=sorted(orders), detail=details[kind]
            )
            for kind, orders in self._orders.items()
            if orders
        ]


async def own_head(database: Database) -> int:
    """Sequence of the gateway's own newest event for the caller's tenant."""
    async with database.read_transaction(fresh=True) as tx:
        return await tx.scalar(_HEAD, {"tenant_id": tx.tenant_id}) or 0
