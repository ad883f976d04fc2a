"""The open lines to one service: opened anew when our certificate has been renewed."""

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc.aio

from common.certificates import CertificateFiles

__all__ = ["Lines"]

# Calls that are under way on a line that is replaced may finish.
_FAREWELL_SECONDS = 60.0


class Lines:
    """Connections to one service.

    Args:
        target: where it is.
        service: its name, which its certificate must bear.
        options: of gRPC's channels.
        count: how many to keep.
        certificates: ours; without them calls are in the clear.
    """

    def __init__(
        self,
        target: str,
        service: str,
        options: Sequence[tuple[str, Any]],
        count: int,
        certificates: CertificateFiles | None,
    ) -> None:
        self._target = target
        self._options = [*options, ("grpc.ssl_target_name_override", service)]
        self._count = count
        self._certificates = certificates
        self._shown = certificates.current() if certificates else None
        self._open = self._opened()
        self._leaving: set[asyncio.Task[None]] = set()

    def current(self) -> list[grpc.aio.Channel]:
        """The lines to call on now; the same list until they are replaced."""
        if self._certificates and self._shown != (newest := self._certificates.current()):
            self._shown = newest
            self._replace()
        return self._open

    async def close(self) -> None:
        """Hang up."""
        for task in self._leaving:
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)
        for line in self._open:
            await line.close(None)

    def _replace(self) -> None:
        old, self._open = self._open, self._opened()
        for line in old:
            task = asyncio.create_task(line.close(_FAREWELL_SECONDS))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def _opened(self) -> list[grpc.aio.Channel]:
        if self._certificates is None:
            return [
                grpc.aio.insecure_channel(self._target, options=self._options)
                for _ in range(self._count)
            ]
        credentials = self._certificates.for_channel()
        return [
            grpc.aio.secure_channel(self._target, credentials, options=self._options)
            for _ in range(self._count)
        ]
