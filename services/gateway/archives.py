"""A ZIP archive that is written as it grows, and taken away in parts."""

import hashlib
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Archive", "ArchivedFile"]


class _Sink:
    """What the archive is written to: it is never read again and has no beginning to go back to."""

    def __init__(self) -> None:
        self.waiting = bytearray()
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, content: bytes) -> int:
        self.waiting += content
        self.size += len(content)
        self.sha256.update(content)
        return len(content)

    def flush(self) -> None:
        """Nothing is held back."""


class ArchivedFile:
    """One file of the archive while it is written: lines, counted and digested."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.lines = 0
        self.size = 0

    def write_line(self, line: str) -> None:
        """Write one line."""
        content = line.encode() + b"\n"
        self._file.write(content)
        self._sha256.update(content)
        self.lines += 1
        self.size += len(content)

    @property
    def sha256(self) -> str:
        """The digest of what was written, in hexadecimal."""
        return self._sha256.hexdigest()


class Archive:
    """An archive of which no more than one part is in memory."""

    def __init__(self) -> None:
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_DEFLATED)  # type: ignore[call-overload]

    @contextmanager
    def file(self, name: str) -> Iterator[ArchivedFile]:
        """A file to write; one at a time."""
        with self._zip.open(name, "w", force_zip64=True) as file:
            yield ArchivedFile(file)

    def close(self) -> None:
        """Write the directory: after this there is no more to come."""
        self._zip.close()

    def take(self, least: int) -> bytes:
        """What is written and was not taken, if that is as much as this; else nothing."""
        if len(self._sink.waiting) < max(least, 1):
            return b""
        content = bytes(self._sink.waiting)
        self._sink.waiting.clear()
        return content

    @property
    def size(self) -> int:
        """Bytes written so far."""
        return self._sink.size

    @property
    def sha256(self) -> str:
        """The digest of all of it, in hexadecimal."""
        return self._sink.sha256.hexdigest()
