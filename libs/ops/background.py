"""A stack of its own in the background, for tests and benchmarks."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common.rpc_testing import free_port
from ops.dev_directory import DevDirectory

STOP_SECONDS = 60


@dataclass(frozen=True)
class BackgroundStack:
    """A running stack."""

    directory: Path
    pid: int

    @property
    def state(self) -> dict[str, Any]:
        """The state file as it is now."""
        return dict(json.loads((self.directory / "state.json").read_text()))

    def pids(self, name: str) -> list[int]:
        """The processes of that name."""
        return list(self.state["processes"][name])

    def kill(self, name: str) -> list[int]:
        """Kill -9 all processes of that name; returns their pids."""
        pids = self.pids(name)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        return pids


@contextmanager
def running(
    directory: Path,
    environment: Mapping[str, str] = os.environ,
    *,
    options: Sequence[str] = (),
    like: Path | None = None,
) -> Iterator[BackgroundStack]:
    """Start `kv-erp up` with `options` and its data in `directory`, and stop it when left.

    It begins with a copy of the data of the stopped stack `like`, if one is named. Its HTTP port is
    any that is free: what `make run` prefers is left to the user's own stack.

    Raises:
        RuntimeError: it did not start; says what it printed.
    """
    command = [str(Path(sys.executable).with_name("kv-erp")), "up", *options]
    if like is not None:
        copy_data(like, directory)
    own = {"KV_ERP_DEV_DIR": str(directory), "KV_ERP_HTTP_PORT": str(free_port())}
    process = subprocess.Popen(
        command, env={**environment, **own}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        _await_ready(process)
        yield BackgroundStack(directory, process.pid)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=STOP_SECONDS)


def copy_data(source: Path, directory: Path) -> None:
    """Make `directory` another stack with the data of the stopped one in `source`."""
    # With owners: a PostgreSQL that is not to be root has files of its own.
    directory.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cp", "-a", f"{source}/.", str(directory)], check=True)
    DevDirectory(directory).ports.unlink(missing_ok=True)


def _await_ready(process: "subprocess.Popen[bytes]") -> None:
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line.decode(errors="replace"))
        if line.startswith(b"ready"):
            return
    raise RuntimeError("the stack did not start:\n" + "".join(said))
