"""Work that many want at the same time, done once for all of them."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Generic, TypeVar

__all__ = ["Flights"]

Result = TypeVar("Result")


class Flights(Generic[Result]):
    """Runs at most one piece of work a key at a time in this process.

    Nobody is given the outcome of work that had begun before they asked, since it may not know of
    what they did meanwhile: those who come while it runs share the next one.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[Result]] = {}
        self._waiting: dict[str, asyncio.Task[Result]] = {}

    async def join(self, key: str, work: Callable[[], Awaitable[Result]]) -> Result:
        """The outcome of work that begins from now on, this caller's or an equal one's.

        A caller that is cancelled leaves the others their work.
        """
        flight = self._waiting.get(key)
        if flight is None:
            flight = asyncio.create_task(self._fly(key, work))
            self._waiting[key] = flight
        return await asyncio.shield(flight)

    async def _fly(self, key: str, work: Callable[[], Awaitable[Result]]) -> Result:
        before = self._running.get(key)
        if before is not None:
            await asyncio.wait([before])
        mine: Any = self._waiting.pop(key)
        self._running[key] = mine
        try:
            return await work()
        finally:
            if self._running.get(key) is mine:
                del self._running[key]
