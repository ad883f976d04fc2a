"""Completing jobs whose handlers have no effect of their own, many in one transaction."""

import asyncio

from common.jobs.claims import Claimed, Claims

__all__ = ["Completions"]


class Completions:
    """Completes together what waits when the transaction before has ended; there is no timer."""

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._waiting: list[tuple[Claimed, asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None

    async def complete(self, job: Claimed) -> None:
        """Return when the job is completed, or is another attempt's."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((job, done))
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        await done

    async def _run(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                await self._claims.complete([job for job, _ in group])
            except Exception as error:  # noqa: BLE001 (each of them is told)
                for _, done in group:
                    done.set_exception(error)
            else:
                for _, done in group:
                    done.set_result(None)
        self._running = None
