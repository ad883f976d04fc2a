"""What the primitives reach beside their peers, written to PRIMITIVES.md.

`python -m benchmarks primitives [SCENARIO...]`: each scenario has a section of its own there, and
one that is run alone leaves the others as they were.
"""

import os
import re
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import cache, events, jobs, locks, rate_limit
from benchmarks.figures import Figure, commit, machine

RESULTS = Path(__file__).with_name("PRIMITIVES.md")
SCENARIOS: dict[str, Callable[[], list[Figure]]] = {
    "jobs": jobs.rates,
    "killed-workers": jobs.takeovers,
    "locks": locks.figures,
    "limits": rate_limit.figures,
    "cache": cache.figures,
    "events": events.figures,
}
_HEAD = """# What the primitives reach

Written by `make bench-primitives`, or `python -m benchmarks primitives [SCENARIO...]`: a section
for each scenario, as it was last run. Ours, peers, PostgreSQL and Valkey share the machine; fsync
and synchronous_commit are on. Where there are several rounds, they alternate with the peer's, and a
ratio is that of the medians. "Busy" is the machine's load in the minute before, of other work and
perhaps the scenario before; "nice" how scenario and servers were preferred to it (0: not at all).
"""


def main(names: Sequence[str]) -> None:
    """Run these scenarios, or all."""
    unknown = set(names) - set(SCENARIOS)
    if unknown:
        raise SystemExit(f"no scenario {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    for name in names or SCENARIOS:
        section = _section(name)
        print(section, flush=True)
        _write({**_sections(), name: section})


def _section(name: str) -> str:
    load, began = os.getloadavg()[0], time.perf_counter()
    figures = SCENARIOS[name]()
    seconds = time.perf_counter() - began
    head = f"""## {name}

`python -m benchmarks primitives {name}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()},
{machine()}, busy {load:.1f}, nice {os.nice(0)}, took {seconds:.0f} s.

| | seen | target | met |
|---|---|---|---|
"""
    return head + "".join(f"{figure.row()}\n" for figure in figures)


def _sections() -> dict[str, str]:
    if not RESULTS.exists():
        return {}
    parts = re.split(r"^(?=## )", RESULTS.read_text(), flags=re.MULTILINE)[1:]
    return {part.split("\n", 1)[0].removeprefix("## "): f"{part.strip()}\n" for part in parts}


def _write(sections: dict[str, str]) -> None:
    RESULTS.write_text(
        "\n".join([_HEAD, *(sections[name] for name in SCENARIOS if name in sections)])
    )
