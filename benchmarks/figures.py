"""What a scenario measured, beside what was promised, and on which machine."""

import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Figure", "at_least", "at_most", "commit", "machine", "rounds", "seen"]


@dataclass(frozen=True)
class Figure:
    """One line of a table; what has no target is there to be compared with."""

    what: str
    seen: str
    target: str = ""
    is_met: bool | None = None

    def row(self) -> str:
        """The line."""
        met = {None: "", True: "yes", False: "**no**"}[self.is_met]
        return f"| {self.what} | {self.seen} | {self.target} | {met} |"


def seen(what: str, found: str) -> Figure:
    """Something that was measured and has no target."""
    return Figure(what, found)


def at_least(what: str, found: float, target: float, unit: str = "", note: str = "") -> Figure:
    """Something of which more is better."""
    return Figure(what, f"{found:,.2f}{unit}{note}", f"≥ {target:,g}{unit}", found >= target)


def at_most(what: str, found: float, target: float, unit: str = "", note: str = "") -> Figure:
    """Something of which less is better."""
    return Figure(what, f"{found:,.2f}{unit}{note}", f"≤ {target:,g}{unit}", found <= target)


def rounds(values: Iterable[float]) -> str:
    """Each round's figure."""
    return ", ".join(f"{value:,.0f}" for value in values)


def machine() -> str:
    """The machine in a line."""
    cpu = next(
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    )
    return f"{_output('nproc')} cores ({cpu}), Python {platform.python_version()}"


def commit() -> str:
    """The commit that was measured; "+" when there was more than it in the code."""
    code = ("*.py", "*.lua", "*.sql", "*.proto", "uv.lock")
    changed = _output("git", "status", "--porcelain", "--untracked-files=no", "--", *code)
    return _output("git", "describe", "--always") + ("+" if changed else "")


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
