"""What the gateway keeps for a time, removed by the clock."""

from types import SimpleNamespace

from common import jobs
from common.database import Database
from erp.gateway.v1.jobs_pb2 import ForgetOldRecords
from gateway.tenant_exports import forget_old_exports
from gateway.webhook_deliveries import forget_old_deliveries

__all__ = ["forgetting_by"]

_QUEUE = "low"
_EVERY_HOUR = jobs.Schedule("forget old records", ForgetOldRecords(), every_seconds=3600)


def forgetting_by(database: Database) -> SimpleNamespace:
    """The schedule and the handler of its jobs, as a module would hold them."""

    @jobs.handles(ForgetOldRecords, queue=_QUEUE)
    async def forget(_: jobs.Work[ForgetOldRecords]) -> None:
        await forget_old_deliveries(database)
        await forget_old_exports(database)

    return SimpleNamespace(forget=forget, every_hour=_EVERY_HOUR)
