"""TCP ports on 127.0.0.1, held for this stack from the choice until it ends."""

import errno
import socket
import sys
from collections.abc import Mapping
from typing import Self

from ops.errors import StackFailure

HOST = "127.0.0.1"
HIGHEST_PORT = 65535


class Ports:
    """Chooses ports by name, the one of the last run if it is free, and keeps them from others.

    On Linux a port stays held by a bound socket that never listens. A server that sets
    SO_REUSEADDR, as all of ours do, may listen beside it; nobody else's search for a free port
    finds it, and no outgoing connection is given it while its server restarts.
    """

    def __init__(self, previous: Mapping[str, int] | None = None) -> None:
        self._previous = previous or {}
        self._sockets: dict[str, tuple[socket.socket, ...]] = {}
        self.numbers: dict[str, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self, name: str, *, preferred: int | None = None) -> int:
        """A free port for `name`: `preferred`, else that of the last run, else any."""
        for candidate in (preferred, self._previous.get(name), 0):
            if candidate is not None and self._hold(name, candidate) is None:
                return self.numbers[name]
        raise StackFailure(f"No free TCP port on {HOST} for {name}.")

    def take_exactly(self, name: str, port: int, asked_by: str) -> int:
        """`port` for `name`; a StackFailure that names `asked_by` if it is not to be had."""
        error = self._hold(name, port)
        if error is None:
            return port
        if error.errno == errno.EADDRINUSE:
            raise StackFailure(f"Port {port} ({asked_by}) is in use by another program.")
        raise StackFailure(f"Port {port} ({asked_by}) cannot be used: {error.strerror}.")

    def close(self) -> None:
        """Give all ports up."""
        for held in self._sockets.values():
            for one in held:
                one.close()
        self._sockets.clear()

    def _hold(self, name: str, port: int) -> OSError | None:
        """Hold `port` (0: any) for `name`, or say why not."""
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if port:
            # A named port may still have connections of the last run in TIME_WAIT.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            holder.bind((HOST, port))
        except OSError as error:
            holder.close()
            return error
        number = holder.getsockname()[1]
        if sys.platform == "linux":
            try:
                self._sockets[name] = holder, _claim(number)
            except OSError as error:
                holder.close()
                return error
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            holder.close()
        self.numbers[name] = number
        return None


def _claim(port: int) -> socket.socket:
    """Be the only stack that holds `port`, until the socket is closed or the process ends.

    Two sockets with SO_REUSEADDR may be bound to one port as long as nobody listens. A name in
    Linux's abstract namespace, which is the network's as the port is, belongs to one only.
    """
    claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        claim.bind(f"\0kv-erp port {port}")
    except OSError:
        claim.close()
        raise
    return claim


def parse_port(text: str, variable: str) -> int:
    """The TCP port that an environment variable names; a StackFailure if it is none."""
    if text.isascii() and text.isdigit() and 0 < int(text) <= HIGHEST_PORT:
        return int(text)
    raise StackFailure(f"{variable} must be a TCP port between 1 and 65535, not {text!r}.")
