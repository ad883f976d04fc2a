"""A client of Redis whose tasks share one connection: cheaper than one connection a command.

redis-py takes a connection from its pool for every command, and sends and reads on each by itself.
Here commands are written one behind the other and answered in that order (RESP pipelining), so
those that meet share system calls.
"""

import asyncio
import inspect
from collections import deque
from typing import Any

from hiredis import PushNotification
from redis.asyncio import ConnectionPool, Redis
from redis.exceptions import ResponseError

from common.redis_line import Line

__all__ = ["SharedRedis"]


class SharedRedis(Redis):
    """Sends single commands over one connection; pipelines and pub/sub have their own.

    Not for commands that block, such as BLPOP: everybody would wait behind them.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._shared = _SharedConnection(self.connection_pool)

    async def execute_command(self, *words: Any, **options: Any) -> Any:
        """One command's answer, as the methods of redis-py return it.

        Raises:
            TimeoutError: none came in the time that this client has.
            RedisError, OSError: the server refused it, or cannot be reached.
        """
        answer = await self._shared.ask(*words)
        understand = self.response_callbacks.get(words[0])
        if understand is None:
            return answer
        options.pop("keys", None)
        understood = understand(answer, **options)
        return await understood if inspect.isawaitable(understood) else understood

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close all connections."""
        await self._shared.close()
        await super().aclose(close_connection_pool)


class _SharedConnection:
    """Whatever connection there is at the moment; one that broke is made anew when it is needed."""

    def __init__(self, pool: ConnectionPool) -> None:
        self._pool = pool
        self._answer_seconds: float | None = pool.connection_kwargs.get("socket_timeout")
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()

    async def ask(self, *words: Any) -> Any:
        link = self._link
        if link is None or not link.stands:
            async with asyncio.timeout(self._answer_seconds):
                link = await self._connected()
        return await link.ask(*words)

    async def close(self) -> None:
        if self._link is not None:
            await self._link.close()

    async def _connected(self) -> "_Link":
        async with self._connecting:
            if self._link is None or not self._link.stands:
                connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
                await connection.connect()
                self._link = _Link(connection, self._answer_seconds)
            return self._link


class _Link:
    """One connection, and who waits for an answer on it, in the order of their questions.

    Who asked first is answered first, so one timer watches over all of them.
    """

    def __init__(self, connection: Any, answer_seconds: float | None) -> None:
        self._line = Line(connection, self._hear, self._lose)
        self._answer_seconds = answer_seconds
        self._loop = asyncio.get_running_loop()
        # With the time of each question.
        self._unanswered: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def stands(self) -> bool:
        return self._line.stands

    async def ask(self, *words: Any) -> Any:
        answer, now = self._loop.create_future(), self._loop.time()
        self._unanswered.append((answer, now))
        if self._timer is None and self._answer_seconds is not None:
            self._timer = self._loop.call_at(now + self._answer_seconds, self._look)
        self._line.say(*words)
        return await answer

    async def close(self) -> None:
        await self._line.close()

    def _hear(self, answer: Any) -> None:
        if isinstance(answer, PushNotification):
            return
        asked, _ = self._unanswered.popleft()
        # Who asked may have gone.
        if asked.done():
            return
        if isinstance(answer, ResponseError):
            asked.set_exception(answer)
        else:
            asked.set_result(answer)

    def _look(self) -> None:
        """Break off when the first question has waited for too long, else look again in time."""
        assert self._answer_seconds is not None
        self._timer = None
        if not self._unanswered:
            return
        due = self._unanswered[0][1] + self._answer_seconds
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._look)
        else:
            # What comes on it from now on may never end; everybody starts afresh.
            self._line.break_off(TimeoutError())

    def _lose(self, reason: Exception) -> None:
        if self._timer is not None:
            self._timer.cancel()
        for asked, _ in self._unanswered:
            if not asked.done():
                asked.set_exception(reason)
