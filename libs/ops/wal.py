"""PostgreSQL's log by its file names, and the archive that keeps it."""

import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ops.archive_segment import PLAIN, SEALED
from ops.backup_keys import BackupKeys, needed
from ops.postgres import account_for, give
from ops.programs import run_program
from ops.sealed_files import check_key

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
    """A directory to which a server copies each finished segment of its log, compressed.

    With a key file, which the server has to be able to read, they are encrypted as well.
    """

    def __init__(self, directory: Path, key_file: Path | None = None) -> None:
        self.directory = directory.absolute()
        self._key_file = key_file

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
        return f"{self._program()} store %p {_quoted(self.directory)} %f"

    def fetch_command(self, tail: Path | None = None) -> str:
        """The restore_command; what is not archived yet may lie in the pg_wal `tail`."""
        places = [self.directory, *([tail.absolute()] if tail else [])]
        return f"{self._program()} fetch %f %p {' '.join(map(_quoted, places))}"

    def _program(self) -> str:
        python, program = _quoted(Path(sys.executable)), _quoted(_PROGRAM)
        if self._key_file is None:
            return f"{python} -I -S {program}"
        return f"{python} -I {program} --key-file {_quoted(self._key_file.absolute())}"

    def segments(self) -> Iterator[Segment]:
        """What is there, in no order."""
        for file in self.files():
            if segment := stored_segment(file):
                yield segment

    def files(self) -> Iterator[Path]:
        """The complete files that are there: segments, histories and labels, in no order."""
        for suffix in (PLAIN, SEALED):
            yield from self.directory.glob(f"[!.]*{suffix}")

    def check_keys(self, start: Segment, keys: BackupKeys | None) -> None:
        """See whether all segments from `start` on can be read; else a StackFailure."""
        for file in self.files():
            segment = stored_segment(file)
            if segment and segment.number >= start.number and file.name.endswith(SEALED):
                check_key(file, needed(keys), segment.name)

    def remove_before(self, start: Segment) -> None:
        """Remove the segments that only came before `start`."""
        for suffix in (PLAIN, SEALED):
            run_program("pg_archivecleanup", "-x", suffix, str(self.directory), start.name)

    def newest_at(self) -> datetime | None:
        """When the last segment came in."""
        times = [file.stat().st_mtime for file in self.files()]
        return datetime.fromtimestamp(max(times), UTC) if times else None

    def first_gap_after(self, start: Segment) -> int | None:
        """The number of the first segment from `start` on that lacks though later ones exist."""
        return first_gap(
            start.number, (one.number for one in self.segments() if one.number >= start.number)
        )


def stored_segment(file: Path) -> Segment | None:
    """What lies in a file of the archive, None for a history, a label, or part of a segment."""
    return Segment.parse(file.name.removesuffix(SEALED).removesuffix(PLAIN))


def first_gap(start: int, numbers: Iterable[int]) -> int | None:
    """The first number from `start` on that lacks though a higher one is there."""
    found = set(numbers)
    return min(set(range(start, max(found, default=start))) - found, default=None)


def _quoted(path: Path) -> str:
    """For the shell that runs the command, and with % doubled for PostgreSQL."""
    text = str(path).replace("'", "'\\''").replace("%", "%%")
    return f"'{text}'"
