"""A client of Redis whose tasks share one connection: cheaper than one connection a command.

redis-py takes a connection from its pool for every command, and sends and reads on each by itself.
Here commands are written one behind the other and answered in that order (RESP pipelining), so
those that meet share system calls.
"""

import asyncio
import inspect
import math
from collections import deque
from typing import Any

from redis.asyncio import Connection, ConnectionPool, Redis
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

from common.tasks import end

__all__ = ["SharedRedis"]

# In C: the client's own way through Python took longer than Redis does.
_PACKER = HiredisRespSerializer()


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
                # Whoever asks keeps the time; nobody is to wait for each write by itself.
                connection.socket_timeout = None
                self._link = _Link(connection, self._answer_seconds)
            return self._link


class _Link:
    """One connection, and who waits for an answer on it, in the order of their questions.

    Who asked first is answered first, so one timer watches over all of them.
    """

    def __init__(self, connection: Connection, answer_seconds: float | None) -> None:
        self.stands = True
        self._connection = connection
        self._answer_seconds = answer_seconds
        self._loop = asyncio.get_running_loop()
        # With the time of each question.
        self._unanswered: deque[tuple[asyncio.Future[Any], float]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._reason: Exception = RedisConnectionError("The connection was closed.")
        self._reader = asyncio.create_task(self._read())

    async def ask(self, *words: Any) -> Any:
        packed = _PACKER.pack(*words)
        answer, now = self._loop.create_future(), self._loop.time()
        # Nothing is awaited between this and the writing: both are in the same order.
        self._unanswered.append((answer, now))
        if self._timer is None and self._answer_seconds is not None:
            self._timer = self._loop.call_at(now + self._answer_seconds, self._look)
        await self._connection.send_packed_command(packed, check_health=False)
        return await answer

    def _look(self) -> None:
        """Break off when the first question has waited for too long, else look again in time."""
        assert self._answer_seconds is not None
        self._timer = None
        if not self._unanswered:
            return
        due = self._unanswered[0][1] + self._answer_seconds
        if due > self._loop.time():
            self._timer = self._loop.call_at(due, self._look)
            return
        # What comes on it from now on may never end; everybody starts afresh.
        self._reason = TimeoutError()
        self.stands = False
        self._reader.cancel()

    async def close(self) -> None:
        self.stands = False
        await end(self._reader)

    async def _read(self) -> None:
        try:
            while True:
                answer = await self._next_answer()
                asked, _ = self._unanswered.popleft()
                # Who asked may have gone.
                if not asked.done():
                    _give(asked, answer)
        except Exception as error:  # noqa: BLE001 (told to everybody who waits)
            self._reason = error
        finally:
            self.stands = False
            if self._timer is not None:
                self._timer.cancel()
            for asked, _ in self._unanswered:
                if not asked.done():
                    asked.set_exception(self._reason)
            await self._connection.disconnect(nowait=True)

    async def _next_answer(self) -> Any:
        try:
            return await self._connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except ResponseError as refusal:
            return refusal


def _give(asked: "asyncio.Future[Any]", answer: Any) -> None:
    if isinstance(answer, ResponseError):
        asked.set_exception(answer)
    else:
        asked.set_result(answer)
