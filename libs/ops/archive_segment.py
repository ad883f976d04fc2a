"""Puts a file of PostgreSQL's log into an archive, or takes one out again.

Run as a script (`python -I -S archive_segment.py store FILE ARCHIVE NAME` as archive_command, and
`… fetch NAME FILE ARCHIVE…` as restore_command), never imported: it starts in milliseconds, and
what it promises has to be seen at a glance. Exit code 0 means done and on disk, 1 not.
"""

import gzip
import os
import shutil
import sys
from pathlib import Path


def store(file: Path, archive: Path, name: str) -> None:
    """Compress `file` into the archive, complete and durable or not at all; never overwrite."""
    kept = archive / f"{name}.gz"
    if kept.exists():
        # A server that died between the copy and noting it asks again.
        if gzip.decompress(kept.read_bytes()) == file.read_bytes():
            return
        if not name.endswith(".partial"):
            sys.exit(f"{kept} exists with other content.")
        # Two restores may leave the old history in one segment; nobody reads what is left of it.
        kept = archive / f"{name}.{os.getpid()}.gz"
    fresh = archive / f".{name}.{os.getpid()}"
    try:
        with file.open("rb") as source, fresh.open("wb") as target:
            with gzip.GzipFile(filename="", mode="wb", fileobj=target, compresslevel=1) as packed:
                shutil.copyfileobj(source, packed)
            os.fsync(target.fileno())
        fresh.rename(kept)
    finally:
        fresh.unlink(missing_ok=True)
    _sync_directory(archive)


def fetch(name: str, file: Path, places: list[Path]) -> None:
    """Write `name` to `file`, from an archive or as it lies in another server's pg_wal."""
    for place in places:
        if (packed := place / f"{name}.gz").exists():
            with gzip.open(packed) as source, file.open("wb") as target:
                shutil.copyfileobj(source, target)
            return
        if (plain := place / name).exists():
            shutil.copyfile(plain, file)
            return
    sys.exit(1)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def main() -> None:
    """Do what the first argument says."""
    match sys.argv[1:]:
        case ["store", file, archive, name]:
            store(Path(file), Path(archive), name)
        case ["fetch", name, file, *places]:
            fetch(name, Path(file), [Path(place) for place in places])
        case _:
            sys.exit("usage: archive_segment.py store FILE ARCHIVE NAME | fetch NAME FILE ARCHIVE…")


if __name__ == "__main__":
    main()
