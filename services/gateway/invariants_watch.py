"""The system's promises, checked on one tenant after another for as long as it runs."""

from collections import Counter as Count
from collections.abc import Awaitable, Callable, Sequence
from uuid import UUID

import structlog
from prometheus_client import Counter, Gauge
from sqlalchemy import text

from common import ids
from common.caller import acting_as, service_caller
from common.database import Database
from common.duties import Duty
from erp.audit.v1.audit_pb2 import Violation

__all__ = ["SYSTEM_REASON", "InvariantsWatch", "duties"]

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
_TENANTS = text("SELECT id FROM tenants WHERE state <> 'deleted' ORDER BY id")

Check = Callable[[], Awaitable[Sequence[Violation]]]
log = structlog.get_logger()


class InvariantsWatch:
    """Checks the tenants in turn, and remembers what was wrong with each.

    Args:
        check: finds what does not hold for the caller's tenant.
        tenants: all of them.
    """

    def __init__(self, check: Check, tenants: Callable[[], Awaitable[Sequence[UUID]]]) -> None:
        self._check = check
        self._tenants = tenants
        self._waiting: list[UUID] = []
        self._found: dict[UUID, Count[str]] = {}
        self._shown: set[str] = set()
        _CHECKED.set_to_current_time()

    async def check_next(self) -> None:
        """Check one tenant; when all have had their turn, start again."""
        try:
            await self._check_next()
        except Exception:
            _CHECKS.labels("failed").inc()
            raise

    async def _check_next(self) -> None:
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


def duties(check: Check, database: Database, every_seconds: float) -> list[Duty]:
    """The duty to check the next tenant after so long; none when there is no time between.

    A check reads all orders of its tenant.
    """

    async def tenants() -> list[UUID]:
        async with database.system_transaction(SYSTEM_REASON) as connection:
            return list((await connection.execute(_TENANTS)).scalars())

    watch = InvariantsWatch(check, tenants)
    return [Duty("check invariants", every_seconds, watch.check_next)] if every_seconds else []
