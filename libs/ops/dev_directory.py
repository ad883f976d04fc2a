"""The directory of one local stack, and the claim that only one stack uses it."""

import fcntl
import os
from pathlib import Path
from typing import IO

from ops.errors import StackFailure


class DevDirectory:
    """Where everything of one local stack lives: .dev, or what KV_ERP_DEV_DIR names."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        self._lock: IO[str] | None = None

    @property
    def logs(self) -> Path:
        """One file a process."""
        return self.path / "log"

    @property
    def state(self) -> Path:
        """What a client of the running stack needs; absent while it isn't ready."""
        return self.path / "state.json"

    @property
    def secrets(self) -> Path:
        """Passwords and keys, kept between runs."""
        return self.path / "secrets.json"

    @property
    def ports(self) -> Path:
        """The ports of the last run, taken again if they are free."""
        return self.path / "ports.json"

    @property
    def postgres(self) -> Path:
        """The data directory of the embedded PostgreSQL."""
        return self.path / "postgres"

    @property
    def cluster(self) -> Path:
        """Which of the PostgreSQL servers is the primary, when there are several."""
        return self.path / "cluster.json"

    @property
    def load(self) -> Path:
        """The tenants that `kv-erp seed` has filled: their tokens, and what is in them."""
        return self.path / "load.json"

    @property
    def valkey(self) -> Path:
        """The append-only file of the embedded Valkey."""
        return self.path / "valkey"

    @property
    def mail(self) -> Path:
        """What the mailbox received, a file a mail."""
        return self.path / "mail"

    def claim(self) -> None:
        """Create the directory and hold it for this process; a StackFailure if that can't be."""
        try:
            self.logs.mkdir(parents=True, exist_ok=True)
            # Append mode: a stack that is refused must not empty the holder's pid.
            lock = (self.path / "lock").open("a+")
        except OSError as error:
            raise StackFailure(f"Cannot write in {self.path}: {error.strerror}.") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            holder = lock.read().strip() or "unknown"
            lock.close()
            sentence = f"Another stack (pid {holder}) is running in {self.path}."
            raise StackFailure(sentence) from error
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def release(self) -> None:
        """Let another stack have the directory."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None
