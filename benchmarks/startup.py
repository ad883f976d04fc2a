"""How long the system takes to be ready, and how much memory it holds when idle."""

import time
from dataclasses import dataclass
from pathlib import Path

from ops.background import BackgroundStack, running


@dataclass(frozen=True)
class Startup:
    """Seconds from the command to `ready`, and PSS in MiB of each kind of process."""

    first_seconds: float
    second_seconds: float
    memory_mib: dict[str, float]


def run(directory: Path) -> Startup:
    """Start on an empty directory, stop, and start again on its data."""
    began = time.perf_counter()
    with running(directory):
        first = time.perf_counter() - began
    began = time.perf_counter()
    with running(directory) as stack:
        second = time.perf_counter() - began
        memory = _memory(stack)
    return Startup(first, second, memory)


def _memory(stack: BackgroundStack) -> dict[str, float]:
    processes = stack.state["processes"]
    return {
        name: sum(map(_pss_mib, pids)) for name, pids in processes.items() if name != "postgres"
    }


def _pss_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"/proc/{pid}/smaps_rollup has no Pss")
