"""PostgreSQL's log by its file names, and the archive that keeps it."""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ops.postgres import account_for, give

SEGMENT_BYTES = 16 * 1024 * 1024
_SEGMENT = re.compile(r"^([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})$")
_PROGRAM = Path(__file__).with_name("archive_segment.py")
_PER_FILE = 0x100000000 // SEGMENT_BYTES


@dataclass(frozen=True, order=True)
class Segment:
    """Sixteen megabytes of the log."""

    number: int
    timeline: int

    @classmethod
    def parse(cls, name: str) -> "Segment | None":
        """The segment that a file is called after, None for a history or label."""
        found = _SEGMENT.match(name)
        if found is None:
            return None
        timeline, upper, lower = (int(part, 16) for part in found.groups())
        return cls(upper * _PER_FILE + lower, timeline)

    @classmethod
    def holding(cls, position: str, timeline: int) -> "Segment":
        """The segment in which a position such as "0/3000028" lies."""
        upper, lower = (int(part, 16) for part in position.split("/"))
        return cls((upper << 32 | lower) // SEGMENT_BYTES, timeline)

    @property
    def name(self) -> str:
        """The name of its file."""
        upper, lower = divmod(self.number, _PER_FILE)
        return f"{self.timeline:08X}{upper:08X}{lower:08X}"


class WalArchive:
    """A directory to which a server copies each finished segment of its log, compressed."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.absolute()

    def prepare(self) -> None:
        """Make the directory, for the account that PostgreSQL runs as."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        account = account_for(self.directory)
        if account is not None:
            give(self.directory, account)

    def server_settings(self, timeout_seconds: int) -> dict[str, str]:
        """What a server is told so that at most the last `timeout_seconds` are not archived."""
        return {
            "archive_mode": "on",
            "archive_command": self.store_command(),
            "archive_timeout": f"{timeout_seconds}s",
        }

    def store_command(self) -> str:
        """The archive_command."""
        return f"{_python()} store %p {_quoted(self.directory)} %f"

    def fetch_command(self, tail: Path | None = None) -> str:
        """The restore_command; what is not archived yet may lie in the pg_wal `tail`."""
        places = [self.directory, *([tail.absolute()] if tail else [])]
        return f"{_python()} fetch %f %p {' '.join(map(_quoted, places))}"

    def segments(self) -> Iterator[Segment]:
        """What is there, in no order."""
        for file in self.directory.glob("*.gz"):
            if segment := Segment.parse(file.name.removesuffix(".gz")):
                yield segment

    def newest_at(self) -> datetime | None:
        """When the last segment came in."""
        times = [file.stat().st_mtime for file in self.directory.glob("*.gz")]
        return datetime.fromtimestamp(max(times), UTC) if times else None

    def first_gap_after(self, start: Segment) -> int | None:
        """The number of the first segment from `start` on that lacks though later ones exist."""
        return first_gap(
            start.number, (one.number for one in self.segments() if one.number >= start.number)
        )


def first_gap(start: int, numbers: Iterable[int]) -> int | None:
    """The first number from `start` on that lacks though a higher one is there."""
    found = set(numbers)
    return min(set(range(start, max(found, default=start))) - found, default=None)


def _python() -> str:
    return f"{_quoted(Path(sys.executable))} -I -S {_quoted(_PROGRAM)}"


def _quoted(path: Path) -> str:
    """For the shell that runs the command, and with % doubled for PostgreSQL."""
    text = str(path).replace("'", "'\\''").replace("%", "%%")
    return f"'{text}'"
