"""Puts a file of PostgreSQL's log into an archive, or takes one out again.

Run as a script (`python -I -S archive_segment.py store FILE ARCHIVE NAME` as archive_command, and
`… fetch NAME FILE ARCHIVE…` as restore_command), not imported but for the names of its files: it
starts in milliseconds, and what it promises has to be seen at a glance. With `--key-file FILE`
first, and without -S, what it stores is encrypted. Exit code 0 means done and on disk, 1 not, 126
that a file is there but is not what was stored: PostgreSQL then gives a recovery up, and does not
take it for the end of the log.
"""

import gzip
import io
import os
import shutil
import sys
from pathlib import Path
from typing import IO, Any

SEALED, PLAIN = ".gz.sealed", ".gz"
BROKEN = 126


def store(file: Path, archive: Path, name: str, keys: Any) -> None:
    """Compress `file` into the archive, complete and durable or not at all; never overwrite."""
    suffix = SEALED if keys else PLAIN
    kept = archive / f"{name}{suffix}"
    if kept.exists():
        # A server that died between the copy and noting it asks again.
        if content_of(kept, name, keys) == file.read_bytes():
            return
        if not name.endswith(".partial"):
            sys.exit(f"{kept} exists with other content.")
        # Two restores may leave the old history in one segment; nobody reads what is left of it.
        kept = archive / f"{name}.{os.getpid()}{suffix}"
    fresh = archive / f".{name}.{os.getpid()}"
    try:
        with fresh.open("wb") as target:
            write(file, target, name, keys)
            os.fsync(target.fileno())
        fresh.rename(kept)
    finally:
        fresh.unlink(missing_ok=True)
    _sync_directory(archive)


def write(file: Path, target: IO[bytes], name: str, keys: Any) -> None:
    """Compress, and with keys encrypt: a segment is small enough to be held in memory."""
    packed = gzip.compress(file.read_bytes(), compresslevel=1, mtime=0)
    if keys is None:
        target.write(packed)
        return
    from ops.sealed_files import seal  # noqa: PLC0415 (only who encrypts has it)

    seal(io.BytesIO(packed), target, keys, name)


def fetch(name: str, file: Path, places: list[Path], keys: Any) -> None:
    """Write `name` to `file`, from an archive or as it lies in another server's pg_wal."""
    for place in places:
        for packed in (place / f"{name}{SEALED}", place / f"{name}{PLAIN}"):
            if packed.exists():
                file.write_bytes(content_of(packed, name, keys))
                return
        if (plain := place / name).exists():
            shutil.copyfile(plain, file)
            return
    sys.exit(1)


def content_of(packed: Path, name: str, keys: Any) -> bytes:
    """What was stored."""
    stored = packed.read_bytes()
    if packed.name.endswith(SEALED):
        from ops.sealed_files import unsealed  # noqa: PLC0415

        if keys is None:
            raise ValueError(f"{packed} is encrypted, and no --key-file is given")
        stored = b"".join(unsealed(io.BytesIO(stored), keys, name))
    return gzip.decompress(stored)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keys(file: str) -> Any:
    if not file:
        return None
    from ops.backup_keys import BackupKeys  # noqa: PLC0415

    return BackupKeys.read(Path(file))


def main() -> None:
    """Do what the arguments say."""
    match sys.argv[1:]:
        case ["--key-file", key_file, *words]:
            pass
        case words:
            key_file = ""
    match words:
        case ["store", file, archive, name]:
            store(Path(file), Path(archive), name, _keys(key_file))
        case ["fetch", name, file, *places]:
            try:
                fetch(name, Path(file), [Path(place) for place in places], _keys(key_file))
            except Exception as error:  # noqa: BLE001 (whatever it is, the log does not end here)
                print(f"{name}: {type(error).__name__}: {error}", file=sys.stderr)
                sys.exit(BROKEN)
        case _:
            sys.exit(
                "usage: archive_segment.py [--key-file FILE]"
                " store FILE ARCHIVE NAME | fetch NAME FILE ARCHIVE…"
            )


if __name__ == "__main__":
    main()
