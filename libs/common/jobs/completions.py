"""Completing jobs, many in one transaction: what waits when one has ended forms the next."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from common.database import Database, Transaction
from common.group_commit import GroupCommit
from common.jobs import settling
from common.jobs.claims import Claimed, Claims

__all__ = ["Completions", "Effect"]

V = TypeVar("V")
# Writes what several jobs have to write, the value of each.
Effect = Callable[[Transaction, Sequence[V]], Awaitable[None]]


@dataclass(frozen=True)
class _Completion:
    job: Claimed
    effect: Effect[Any]
    value: Any


class Completions:
    """Completes jobs of one worker. There is no timer: a lone one is completed at once.

    Args:
        claims: the worker's, for jobs without an effect: those of all tenants go together.
        database: the service's, for jobs with one: those of a tenant go together.
        waits: told whenever a job has nothing left to do but to be completed.
    """

    def __init__(self, claims: Claims, database: Database, waits: Callable[[], None]) -> None:
        self.waiting = 0
        self._claims = claims
        self._together = GroupCommit[_Completion, bool](database, _complete)
        self._waits = waits
        self._bare: list[tuple[Claimed, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    async def complete(self, job: Claimed) -> None:
        """Return when the job is completed, or is another attempt's."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._bare.append((job, done))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        with self._waiting():
            await done

    async def complete_with(self, job: Claimed, effect: Effect[V], value: V) -> None:
        """Complete a job in the commit of its effect.

        Raises:
            Superseded: it is another attempt's; nothing was done.
        """
        with self._waiting():
            is_ours = await self._together.run(_Completion(job, effect, value))
        if not is_ours:
            raise settling.superseded(job)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        self.waiting += 1
        self._waits()
        try:
            yield
        finally:
            self.waiting -= 1

    async def _run(self) -> None:
        while self._bare:
            group, self._bare = self._bare, []
            try:
                await self._claims.complete([job for job, _ in group])
            except Exception as error:  # noqa: BLE001 (each of them is told)
                for _, done in group:
                    done.set_exception(error)
            else:
                for _, done in group:
                    done.set_result(None)
        self._running = None


async def _complete(tx: Transaction, wanted: Sequence[_Completion]) -> list[bool]:
    """Complete those that are still ours, each effect once for all that want it."""
    ours = await settling.complete_all(tx, [one.job for one in wanted])
    values: dict[Effect[Any], list[Any]] = {}
    for one in wanted:
        if one.job.key in ours:
            values.setdefault(one.effect, []).append(one.value)
    for effect, some in values.items():
        await effect(tx, some)
    await settling.follow_up(tx, [one.job for one in wanted if one.job.key in ours])
    return [one.job.key in ours for one in wanted]
