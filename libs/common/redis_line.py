"""What goes over a connection of redis-py, past its streams and tasks."""

import asyncio
from collections.abc import Callable
from typing import Any

from redis._parsers.hiredis import NOT_ENOUGH_DATA
from redis.connection import HiredisRespSerializer
from redis.exceptions import ConnectionError as RedisConnectionError

__all__ = ["Line"]

# In C: the client's own way through Python took longer than Redis does.
_PACKER = HiredisRespSerializer()


class Line(asyncio.Protocol):
    """A connection that redis-py has made (names, TLS, AUTH, SELECT), and its parser.

    What comes on it is handed out as it comes; redis-py's own way through streams and tasks takes
    several times as long. It stands until it is lost or closed, and is told of either once.

    Args:
        connection: connected, with nothing under way; nobody else uses it from now on.
        hear: told each answer, an error of the server being one.
        lose: told why it does not stand any more.
    """

    def __init__(
        self, connection: Any, hear: Callable[[Any], None], lose: Callable[[Exception], None]
    ) -> None:
        self.stands = True
        self._connection = connection
        self._hear = hear
        self._lose = lose
        self._ending: asyncio.Task[None] | None = None
        # redis-py has no other door to either.
        self._parser = connection._parser._reader  # noqa: SLF001
        self._transport = connection._writer.transport  # noqa: SLF001
        self._transport.set_protocol(self)
        # What its parser has already.
        asyncio.get_running_loop().call_soon(self.data_received, b"")

    def say(self, *words: Any) -> None:
        """Send a command."""
        self._transport.writelines(_PACKER.pack(*words))

    def break_off(self, reason: Exception) -> None:
        """Hang up at once."""
        if not self.stands:
            return
        self.stands = False
        self._transport.abort()
        # For redis-py's own books.
        self._ending = asyncio.create_task(self._connection.disconnect(nowait=True))
        self._lose(reason)

    async def close(self) -> None:
        """Hang up."""
        self.break_off(RedisConnectionError("The connection was closed."))
        if self._ending is not None:
            await self._ending

    def data_received(self, data: bytes) -> None:
        """Hand out the answers that are complete."""
        try:
            self._parser.feed(data)
            while (answer := self._parser.gets()) is not NOT_ENOUGH_DATA:
                self._hand_out(answer)
        except Exception as error:  # noqa: BLE001 (whoever waits is told)
            self.break_off(error)

    def _hand_out(self, answer: Any) -> None:
        if isinstance(answer, RedisConnectionError):
            # Such as that the server is still loading: it answers nobody.
            raise answer
        self._hear(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing comes any more."""
        why = exc or "closed by the server"
        self.break_off(RedisConnectionError(f"The connection was lost: {why}."))
