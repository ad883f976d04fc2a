"""One open transaction, as the functions that join it see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import CursorResult, Executable, Row
from sqlalchemy.ext.asyncio import AsyncConnection

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class PendingEvent:
    """An event that becomes real with its transaction."""

    subject: str
    message: Message
    request_id: str
    # Its place in the trace of what caused it; empty when that has none.
    traceparent: str


@dataclass
class Transaction:
    """One open transaction. A function that takes it joins it; nobody commits but who opened it."""

    connection: AsyncConnection
    tenant_id: UUID
    # Written by outbox.publish; numbered and stored as the transaction's last write.
    pending_events: list[PendingEvent] = field(default_factory=list)
    # Written by jobs.enqueue and its like; stored before the events.
    pending_jobs: list[Any] = field(default_factory=list)
    # Tags of the cache that end with its commit.
    outdated: list[str] = field(default_factory=list)

    def outdate(self, *tags: object) -> None:
        """Let nobody use what is cached under these tags, such as a record's id.

        They are flushed between the commit and the answer to whoever asked for it.
        """
        self.outdated.extend(map(str, tags))

    async def execute(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> CursorResult[Any]:
        """Run one statement."""
        return await self.connection.execute(statement, parameters)

    async def rows(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Sequence[Row[Any]]:
        """All rows of a statement."""
        return (await self.execute(statement, parameters)).all()

    async def row(
        self, statement: Executable, parameters: Parameters | None = None
    ) -> Row[Any] | None:
        """The only row of a statement, or None."""
        return (await self.execute(statement, parameters)).one_or_none()

    async def scalar(self, statement: Executable, parameters: Parameters | None = None) -> Any:
        """The first column of the only row, or None."""
        return (await self.execute(statement, parameters)).scalar_one_or_none()
