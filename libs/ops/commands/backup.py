"""`kv-erp backup`: base backups, the log between them, and the way back to a moment."""

import tempfile
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.backup_copies import BackupCopy
from ops.backup_keys import make_key_file
from ops.backups import Backup, BackupStore
from ops.commands.console import (
    AsJson,
    OperatorUrl,
    Yes,
    confirm,
    dev_directory,
    err,
    failures_as_sentences,
    operator_url,
    out,
    print_json,
    print_rows,
    running_state,
)
from ops.dev_directory import DevDirectory
from ops.errors import StackFailure
from ops.postgres import configured
from ops.progress import Progress
from ops.restore import Restore
from ops.restored_stack import restore_stack

app = typer.Typer(no_args_is_help=True, help="Back up, verify, and restore to a moment.")

Store = Annotated[
    Path | None,
    typer.Option(
        envvar="KV_ERP_BACKUP_STORE",
        help="Directory of the backups; that of the running local stack if absent.",
    ),
]

KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        envvar="KV_ERP_BACKUP_KEY_FILE",
        help="File of the key to encrypt with; that of the running local stack if absent.",
    ),
]

BackupId = Annotated[
    str | None, typer.Option("--backup", help="Where to begin; the newest that fits if absent.")
]
Tail = Annotated[
    Path | None, typer.Option(help="pg_wal of the lost server, if it can still be read.")
]
Timeline = Annotated[str, typer.Option(help="The history to follow: latest, or its number.")]


@app.command("create")
def create(
    url: OperatorUrl = None,
    store: Store = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Copy the whole server while it works, verify the copy, and encrypt it if there is a key."""
    with failures_as_sentences():
        backup = _store(store, key_file).create(operator_url(url), Progress(err))
        if as_json:
            print_json(asdict(backup))
            return
        how = f"encrypted with key {backup.key_id}" if backup.key_id else "not encrypted"
        size, version = _size(backup.bytes), backup.server_version
        out.print(f"Backup {backup.id}: {size}, PostgreSQL {version}, {how}", soft_wrap=True)
        if not backup.archiving:
            err.print("The server archives no log: only this very moment can be restored.")


@app.command("list")
def list_backups(store: Store = None, as_json: AsJson = False) -> None:
    """Show the backups, and until when the archived log goes."""
    with failures_as_sentences():
        kept = _store(store)
        backups, newest = kept.backups(), kept.wal.newest_at()
    if as_json:
        archived = newest.isoformat() if newest else None
        print_json({"backups": [asdict(one) for one in backups], "log_archived_at": archived})
        return
    print_rows("Backups", [_row(one) for one in backups], empty="There is no backup.")
    out.print(f"Log archived last: {newest.isoformat(timespec='seconds') if newest else 'never'}")


@app.command("verify")
def verify(
    backup_id: Annotated[str | None, typer.Argument(help="The newest if absent.")] = None,
    rehearse: Annotated[
        bool, typer.Option(help="Also restore it with all of the log, and throw that away.")
    ] = False,
    store: Store = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Compare a backup with its checksums and look for gaps in the log since."""
    with failures_as_sentences():
        kept = _store(store, key_file)
        backup = kept.get(backup_id) if backup_id else kept.before(None)
        with Progress(err).step(f"Checksums of {backup.id}"):
            kept.verify(backup)
        last = _rehearsed(kept, backup) if rehearse else None
    if as_json:
        print_json({"id": backup.id, "intact": True, "last_transaction": last})
    else:
        restored = f"; restored up to {last}" if last else ""
        out.print(f"Backup {backup.id} is intact{restored}.", soft_wrap=True)


@app.command("restore")
def restore(
    at: Annotated[
        str | None,
        typer.Option(help="What was committed by then, such as 2026-11-27T17:45:00Z; else all."),
    ] = None,
    into: Annotated[
        Path | None,
        typer.Option(help="A new directory; absent, the stopped local stack gets the data."),
    ] = None,
    backup_id: BackupId = None,
    tail: Tail = None,
    timeline: Timeline = "latest",
    yes: Yes = False,
    store: Store = None,
    key_file: KeyFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a cluster as it was at a moment, all databases at the same."""
    with failures_as_sentences():
        kept, moment = _store(store, key_file), _moment(at)
        wanted = Restore(
            store=kept,
            backup=kept.get(backup_id) if backup_id else kept.before(moment),
            directory=into.absolute() if into else dev_directory().absolute() / "postgres",
            moment=moment,
            timeline=timeline,
            tail=tail,
            archiving=into is None,
        )
        if into is None:
            confirm(f"Replace the data of {dev_directory()} by that of {at or 'the log'}?", yes=yes)
            last, aside = restore_stack(DevDirectory(dev_directory()), wanted, Progress(err))
        else:
            last, aside = wanted.run(Progress(err)), None
    found = {"backup": wanted.backup.id, "directory": wanted.directory, "last_transaction": last}
    _report(found | {"replaced": aside}, as_json=as_json)


def _report(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    done = "Restored into {directory}; its last transaction is of {last_transaction}."
    out.print(done.format(**found), soft_wrap=True)
    if found["replaced"]:
        aside = "What was there is kept in {replaced}. Make a new backup soon."
        out.print(aside.format(**found), soft_wrap=True)


@app.command("prune")
def prune(
    keep: Annotated[int, typer.Option(min=1, help="How many backups to keep.")] = 7,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Remove the oldest backups, and the log that only they needed."""
    with failures_as_sentences():
        dropped = _store(store).prune(keep)
    if as_json:
        print_json([one.id for one in dropped])
    else:
        out.print(f"Removed {len(dropped)}: {', '.join(one.id for one in dropped) or 'none'}")


@app.command("copy")
def copy(
    to: Annotated[
        Path,
        typer.Option(envvar="KV_ERP_BACKUP_COPY", help="The other directory, such as a mount."),
    ],
    keep: Annotated[int, typer.Option(min=1, help="How many backups to keep there.")] = 30,
    begin: Annotated[bool, typer.Option("--begin", help="Make the directory; once.")] = False,
    store: Store = None,
    as_json: AsJson = False,
) -> None:
    """Copy to a second place what is not there yet, and remove there what is older than `keep`."""
    with failures_as_sentences():
        copying = BackupCopy(_store(store), BackupStore(to), keep)
        if begin:
            copying.begin()
        done = copying.run(Progress(err))
    if as_json:
        print_json(asdict(done))
    else:
        out.print(f"{len(done.backups)} backups and {done.log_files} files of the log copied.")


@app.command("key")
def key(
    file: Annotated[Path, typer.Argument(help="The file to make; it must not exist.")],
    as_json: AsJson = False,
) -> None:
    """Make a key for backups. Whoever loses it has no backups: keep it apart from them, twice."""
    with failures_as_sentences():
        made = make_key_file(file)
    if as_json:
        print_json({"key_id": made, "file": str(file)})
    else:
        out.print(f"Key {made} is in {file}.", soft_wrap=True)


@app.command("settings")
def settings(
    store: Store = None,
    key_file: KeyFile = None,
    timeout_seconds: Annotated[
        int, typer.Option(min=1, max=900, help="At most so much is not archived yet.")
    ] = 300,
) -> None:
    """Print the lines of postgresql.conf by which a server of yours archives its log."""
    with failures_as_sentences():
        kept = _store(store, key_file)
        for name, value in kept.wal.server_settings(timeout_seconds).items():
            typer.echo(configured(name, value))


def _store(given: Path | None, key_file: Path | None = None) -> BackupStore:
    if given is not None:
        return BackupStore(given, key_file)
    state = running_state()
    if not state.get("backups"):
        raise StackFailure("The running stack has no backups: `up --backups`, or name a --store.")
    own_key = state.get("backup_key")
    return BackupStore(Path(state["backups"]), key_file or (Path(own_key) if own_key else None))


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise StackFailure(f"--at must be a time such as 2026-11-27T17:45:00Z: {error}.") from error
    if moment.tzinfo is None:
        raise StackFailure("--at needs a time zone, such as the Z of 2026-11-27T17:45:00Z.")
    return moment


def _rehearsed(store: BackupStore, backup: Backup) -> str:
    """Restore into a directory beside the store, and remove it; the last transaction's time."""
    with tempfile.TemporaryDirectory(dir=store.directory, prefix=".rehearsal-") as folder:
        return Restore(store=store, backup=backup, directory=Path(folder) / "cluster").run(
            Progress(err)
        )


def _row(backup: Backup) -> dict[str, Any]:
    return {
        "id": backup.id,
        "restorable_from": backup.finished_at[:19] + "Z",
        "size": _size(backup.bytes),
        "databases": ", ".join(backup.databases),
        "log": "archived" if backup.archiving else "none",
        "key": backup.key_id or "none",
    }


def _size(count: int) -> str:
    return f"{count / 1_000_000:.1f} MB"
