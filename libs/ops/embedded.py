"""A server of data from a wheel, as a child of this process or of a supervisor."""

import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Self

from ops.errors import StackFailure
from ops.ports import Ports
from ops.processes import ProcessSpec, spawn_blocking, stop_blocking

START_SECONDS = 30.0


class EmbeddedServer(ABC):
    """A server with its data in one directory, on a port of 127.0.0.1.

    Synchronous and complete by itself: `with` it, or `start()` and `stop()`. A supervisor uses the
    pieces instead: `prepare()`, `process()`, `is_ready()`.
    """

    title: ClassVar[str]
    # The port's name among those of a stack.
    port_name: ClassVar[str]
    poll_seconds: ClassVar[float]

    def __init__(self, directory: Path, *, port: int | None, log: Path | None) -> None:
        self.directory = directory.absolute()
        self._ports = Ports()
        self.port = port or self._ports.take(self.port_name)
        self.log = log or self.directory.with_name(f"{self.directory.name}.log")
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def prepare(self) -> None:
        """Make what the server needs to start."""

    @abstractmethod
    def process(self) -> ProcessSpec:
        """The server as a process to supervise; call `prepare()` first."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether it answers now."""

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
        """Prepare and start the server, and wait until it answers.

        Raises:
            StackFailure: it ended, or did not answer in time; carries the end of its log.
        """
        self.prepare()
        process = spawn_blocking(self.process())
        self._process = process
        deadline = time.monotonic() + START_SECONDS
        while not self.is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise StackFailure(f"{self.title} did not start.", self.process().log_tail())
            time.sleep(self.poll_seconds)

    def stop(self) -> None:
        """Shut the server down; what was promised to be kept is on disk."""
        if self._process is not None:
            stop_blocking(self.process(), self._process)
            self._process = None
        self._ports.close()
