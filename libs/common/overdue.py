"""Ends what is over by the clock, of all tenants, by any number of workers at once."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from uuid import UUID

import structlog
from sqlalchemy import TextClause

from common import caller
from common.database import Database, Transaction
from common.errors import DomainError

__all__ = ["MOST_AT_ONCE", "Overdue"]

# Most that one look at the clock ends; the next look follows at once while there are more.
MOST_AT_ONCE = 500

log = structlog.get_logger()


@dataclass(frozen=True)
class Overdue:
    """A kind of thing that has an end.

    Attributes:
        service: whose it is, and on whose account it is ended.
        reason: the system transaction's, such as "expired holds".
        found: selects tenant_id and id of what is over at :now, in that order, :limit at most.
        end: ends those of a tenant's that are still over once they are locked.
    """

    service: str
    reason: str
    found: TextClause
    end: Callable[[Transaction, Sequence[UUID]], Awaitable[object]]

    async def end_all(self, database: Database) -> None:
        """End all that is over, tenant by tenant."""
        while True:
            window = {"now": datetime.now(UTC), "limit": MOST_AT_ONCE}
            async with database.system_transaction(self.reason) as connection:
                rows = (await connection.execute(self.found, window)).all()
            ended = True
            for tenant_id, group in groupby(rows, key=lambda row: row.tenant_id):
                ended &= await self._end_of(database, tenant_id, [row.id for row in group])
            if not ended or len(rows) < MOST_AT_ONCE:
                return

    async def _end_of(self, database: Database, tenant_id: UUID, over: Sequence[UUID]) -> bool:
        """Whether that worked, so that one tenant's trouble is its own."""
        with caller.acting_as(caller.service_caller(self.service, tenant_id)):
            try:
                await database.run(lambda tx: self.end(tx, over))
            except DomainError as error:
                log.info(
                    "overdue stays", what=self.reason, tenant_id=str(tenant_id), error=str(error)
                )
                return False
        return True
