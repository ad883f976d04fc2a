"""A file of results with a section for each scenario, as it was last run."""

import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.figures import Figure, commit, machine

__all__ = ["Report"]


@dataclass(frozen=True)
class Report:
    """Runs scenarios and writes what they saw.

    One that is run alone leaves the sections of the others as they were.
    """

    path: Path
    # How it is run, without the scenario's name.
    command: str
    # What stands before the sections.
    head: str
    scenarios: Mapping[str, Callable[[], list[Figure]]]

    def write(self, names: Sequence[str]) -> None:
        """Run these scenarios, or all."""
        unknown = set(names) - set(self.scenarios)
        if unknown:
            raise SystemExit(
                f"no scenario {', '.join(unknown)}; there are {', '.join(self.scenarios)}"
            )
        for name in names or self.scenarios:
            section = self._section(name)
            print(section, flush=True)
            self._write({**self._sections(), name: section})

    def _section(self, name: str) -> str:
        load, began = os.getloadavg()[0], time.perf_counter()
        figures = self.scenarios[name]()
        seconds = time.perf_counter() - began
        head = f"""## {name}

`{self.command} {name}`, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {commit()},
{machine()}, busy {load:.1f}, nice {os.nice(0)}, took {seconds:.0f} s.

| | seen | target | met |
|---|---|---|---|
"""
        return head + "".join(f"{figure.row()}\n" for figure in figures)

    def _sections(self) -> dict[str, str]:
        if not self.path.exists():
            return {}
        parts = re.split(r"^(?=## )", self.path.read_text(), flags=re.MULTILINE)[1:]
        return {part.split("\n", 1)[0].removeprefix("## "): f"{part.strip()}\n" for part in parts}

    def _write(self, sections: Mapping[str, str]) -> None:
        known = [sections[name] for name in self.scenarios if name in sections]
        self.path.write_text("\n".join([self.head, *known]))
