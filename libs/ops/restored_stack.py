"""Gives a stopped local stack the data of an earlier moment."""

import shutil
import time
from dataclasses import replace
from pathlib import Path

from ops.dev_directory import DevDirectory
from ops.progress import Progress
from ops.restore import Restore


def restore_stack(directory: DevDirectory, wanted: Restore, progress: Progress) -> tuple[str, Path]:
    """Restore beside the stack's cluster, then put it in its place.

    The old cluster is moved aside, never removed, and lends what it had not archived yet. Valkey's
    data goes with it: its cache would show records of a time that has not been.

    Returns:
        the time of the last transaction, and where the old data is now.

    Raises:
        StackFailure: the stack is running, or the restore failed; nothing was moved then.
    """
    directory.claim()
    try:
        fresh = directory.postgres.with_name("postgres.restored")
        shutil.rmtree(fresh, ignore_errors=True)
        tail = wanted.tail
        if tail is None and (own := directory.postgres / "pg_wal").is_dir():
            tail = own
        last = replace(wanted, directory=fresh, tail=tail).run(progress)
        aside = directory.path / time.strftime("before-restore-%Y%m%dT%H%M%SZ", time.gmtime())
        aside.mkdir(mode=0o700)
        servers = directory.path.glob("postgres*")
        for place in (*servers, directory.valkey, directory.cluster):
            if place != fresh and place.exists():
                place.rename(aside / place.name)
        fresh.rename(directory.postgres)
        return last, aside
    finally:
        directory.release()
