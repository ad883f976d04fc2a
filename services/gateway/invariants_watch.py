"""The system's promises, checked on one tenant after another for as long as it runs."""

import asyncio
import random
from collections import Counter as Count
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text

from common import ids
from common.caller import acting_as, service_caller
from common.database import Database
from common.errors import DomainError
from erp.audit.v1.audit_pb2 import Violation

__all__ = ["SYSTEM_REASON", "InvariantsWatch", "all_tenants"]

SYSTEM_REASON = "invariants"

_VIOLATIONS = Gauge(
    "kv_erp_invariant_violations",
    "Violations found when each tenant was last checked, by rule.",
    ["rule"],
)
_CHECKS = Counter("kv_erp_invariant_checks_total", "Tenants checked.", ["outcome"])
_CHECKED = Gauge(
    "kv_erp_invariants_last_checked_timestamp_seconds", "When a tenant was last checked."
)
_TENANTS = text("SELECT id FROM tenants ORDER BY id")

Check = Callable[[], Awaitable[Sequence[Violation]]]
log = structlog.get_logger()


class InvariantsWatch:
    """Checks the tenants in turn, and remembers what was wrong with each.

    Args:
        check: finds what does not hold for the caller's tenant.
        tenants: all of them.
        every_seconds: from one check to the next; each reads all orders of a tenant.
    """

    def __init__(
        self,
        check: Check,
        tenants: Callable[[], Awaitable[Sequence[UUID]]],
        every_seconds: float,
    ) -> None:
        self._check = check
        self._tenants = tenants
        self._every_seconds = every_seconds
        self._waiting: list[UUID] = []
        self._found: dict[UUID, Count[str]] = {}
        self._shown: set[str] = set()
        _CHECKED.set_to_current_time()

    async def run(self) -> None:
        """Check until cancelled; not at all when there is no time between checks."""
        while self._every_seconds:
            # Several gateways do not check at the same moment.
            await asyncio.sleep(self._every_seconds * random.uniform(0.75, 1.25))  # noqa: S311 (jitter, not a secret)
            try:
                await self.check_next()
            except DomainError as error:
                _CHECKS.labels("failed").inc()
                log.info("invariants not checked", error=str(error))
            except Exception:
                _CHECKS.labels("failed").inc()
                log.exception("invariants not checked")

    async def check_next(self) -> None:
        """Check one tenant; when all have had their turn, start again."""
        if not self._waiting:
            self._waiting = list(await self._tenants())
            self._found = {one: self._found.get(one, Count()) for one in self._waiting}
        if not self._waiting:
            return
        tenant_id = self._waiting.pop()
        with acting_as(service_caller("gateway", tenant_id, str(ids.new()))):
            violations = await self._check()
            for violation in violations:
                log.error(
                    "invariant violated",
                    rule=violation.rule,
                    service=violation.service,
                    detail=violation.detail,
                    ids=list(violation.ids[:10]),
                )
        self._found[tenant_id] = Count(violation.rule for violation in violations)
        _CHECKS.labels("violated" if violations else "held").inc()
        _CHECKED.set_to_current_time()
        self._show()

    def _show(self) -> None:
        total = sum(self._found.values(), Count[str]())
        self._shown |= set(total)
        _VIOLATIONS.labels("any").set(sum(total.values()))
        for rule in self._shown:
            _VIOLATIONS.labels(rule).set(total[rule])


async def all_tenants(database: Database) -> list[UUID]:
    """The ids of all tenants."""
    async with database.system_transaction(SYSTEM_REASON) as connection:
        return list((await connection.execute(_TENANTS)).scalars())
