"""A job as its handler sees it."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cached_property
from typing import Generic, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from common import interruption
from common.database import Database, Transaction
from common.jobs import settling
from common.jobs.claims import Claimed
from common.jobs.completions import Completions, Effect

__all__ = ["Work"]

# More often nobody looks.
_REPORT_SECONDS = 0.25

M = TypeVar("M", bound=Message)
V = TypeVar("V")


class Work(Generic[M]):
    """One attempt at a job. Its transactions are those of the job's tenant.

    Each raises `Superseded` when another attempt has taken over: nothing of it is done then.
    """

    def __init__(
        self, kind: type[M], claimed: Claimed, database: Database, completions: Completions
    ) -> None:
        self._kind = kind
        # None but the engine looks at these.
        self.claimed = claimed
        self.completing = False
        self.completed = False
        self.parked = False
        self._database = database
        self._completions = completions
        self._reported = float("-inf")

    @cached_property
    def message(self) -> M:
        """What describes the job."""
        return self._kind.FromString(self.claimed.payload)

    @property
    def id(self) -> UUID:
        """The job's id."""
        return self.claimed.id

    @property
    def tenant_id(self) -> UUID:
        """Whose job it is; the nil UUID for what a service does for itself."""
        return self.claimed.tenant_id

    @property
    def attempt(self) -> int:
        """Which attempt this is, from 1. From 2 on, an earlier one may have had its effects."""
        return self.claimed.attempt

    @property
    def request_id(self) -> str:
        """The request that wanted the job."""
        return self.claimed.request_id

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A tenant transaction; while it lasts, nobody takes the job over."""
        async with self._database.tenant_transaction() as tx:
            await settling.hold(tx, self.claimed)
            yield tx

    @asynccontextmanager
    async def completion(self) -> AsyncIterator[Transaction]:
        """A tenant transaction whose commit completes the job: its effect happens once."""
        self.completing = True
        try:
            async with self._database.tenant_transaction() as tx:
                await settling.complete(tx, self.claimed)
                yield tx
                await settling.follow_up(tx, [self.claimed])
            self.completed = True
        finally:
            self.completing = False

    async def complete(self, effect: Effect[V], value: V) -> None:
        """Complete the job as `completion` does, in one commit with others of its tenant.

        Those that come here at the same time share a transaction: hundreds a second become
        thousands.

        Args:
            effect: writes the values of several jobs, in the order in which they came. When it
                fails, it is called again for each alone. What it publishes or enqueues names the
                request that it belongs to: the caller is the service.
            value: this job's.
        """
        self.completing = True
        try:
            # It may be committed while whoever waits for it is stopped.
            with interruption.holding():
                await self._completions.complete_with(self.claimed, effect, value)
                self.completed = True
        finally:
            self.completing = False

    @asynccontextmanager
    async def parking(self, why: str) -> AsyncIterator[Transaction]:
        """A tenant transaction whose commit parks the job: another try by itself would be wrong."""
        self.completing = True
        try:
            async with self._database.tenant_transaction() as tx:
                await settling.park(tx, self.claimed, why)
                yield tx
            self.parked = True
        finally:
            self.completing = False

    async def report(self, done: int, total: int) -> None:
        """Say how far the job has come. Stored four times a second at most, and at the end."""
        now = time.monotonic()
        if done < total and now - self._reported < _REPORT_SECONDS:
            return
        self._reported = now
        async with self._database.tenant_transaction() as tx:
            await settling.report(tx, self.claimed, done, total)
