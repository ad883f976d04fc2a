"""`kv-erp db`: databases and roles on a PostgreSQL server, its replicas and their succession."""

import time
from pathlib import Path
from typing import Annotated

import typer

from ops.commands.console import (
    AsJson,
    OperatorUrl,
    Yes,
    confirm,
    dev_directory,
    failures_as_sentences,
    operator_url,
    out,
    print_json,
    print_rows,
    running_state,
)
from ops.credentials import DATABASES, ROLE_KINDS, Credentials
from ops.databases import prepare_databases
from ops.dev_directory import DevDirectory
from ops.errors import StackFailure
from ops.files import read_json
from ops.succession import promote as promote_standby
from ops.succession import rejoin as rejoin_leader
from ops.succession import standbys_of
from ops.urls import postgres_url_from

SWITCH_SECONDS = 60
POLL_SECONDS = 0.1

app = typer.Typer(no_args_is_help=True, help="Databases, roles, replicas and failover.")


@app.command("init")
def init(
    url: Annotated[
        str,
        typer.Option(envvar="DATABASE_URL", help="A superuser's: postgresql://user:password@host/"),
    ],
    secrets: Annotated[
        Path,
        typer.Option(help="Where the roles' passwords are kept, and made if they are missing."),
    ],
    as_json: AsJson = False,
) -> None:
    """Create the four databases and their roles where they are missing; safe to repeat."""
    with failures_as_sentences():
        superuser_url = postgres_url_from({"DATABASE_URL": url}) or url
        created = prepare_databases(superuser_url, Credentials(secrets))
    if as_json:
        print_json({"created": sorted(created), "secrets": secrets})
        return
    for database in DATABASES:
        roles = ", ".join(f"{database}_{kind}" for kind in ROLE_KINDS)
        found = "created" if database in created else "there already"
        out.print(f"{database}: {found}; roles {roles}")
    out.print(f"The passwords are in {secrets}.", soft_wrap=True)


@app.command("replicas")
def replicas(url: OperatorUrl = None, as_json: AsJson = False) -> None:
    """Show who follows the primary, and how far behind each one is."""
    with failures_as_sentences():
        found = standbys_of(operator_url(url))
    if as_json:
        print_json(found)
    else:
        print_rows("Replicas", found, empty="Nobody follows the primary.")


@app.command("promote")
def promote(
    standby: Annotated[
        str | None, typer.Option(help="The standby's superuser URL; absent, the local stack's.")
    ] = None,
    old: Annotated[
        str | None, typer.Option(help="The old primary's superuser URL, to see that it is dead.")
    ] = None,
    fence: Annotated[
        bool, typer.Option(help="Make a living old primary read-only, and wait for its last word.")
    ] = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Make a standby the primary; the old one must be dead, or is fenced first."""
    with failures_as_sentences():
        if standby is not None:
            confirm("Promote that standby?", yes=yes)
            done = {"primary": "standby", "timeline": promote_standby(standby, old, fence=fence)}
        else:
            confirm("Let a standby of the local stack take over?", yes=yes)
            done = {"primary": _switch_over(DevDirectory(dev_directory()))}
    if as_json:
        print_json(done)
    else:
        out.print(f"The primary is now {done['primary']}.")


@app.command("rejoin")
def rejoin(
    directory: Annotated[Path, typer.Option(help="Data directory of the stopped server.")],
    leader: Annotated[str, typer.Option(help="The primary's superuser URL.")],
    name: Annotated[str, typer.Option(help="What the primary calls it.")] = "rejoined",
    as_json: AsJson = False,
) -> None:
    """Before each start of a server: make it a standby if another was promoted meanwhile."""
    with failures_as_sentences():
        changed = rejoin_leader(directory.absolute(), leader, name)
    if as_json:
        print_json({"follows": changed})
    else:
        out.print("It follows the leader." if changed else "Nothing to do: nobody succeeded it.")


def _switch_over(directory: DevDirectory) -> str:
    """Ask the running stack for another primary; its name once it leads."""
    running_state()
    record = read_json(directory.cluster)
    if record is None:
        raise StackFailure("The running stack has no standby: start it with --replicas --failover.")
    if not record["confirming"]:
        raise StackFailure("No standby has every acknowledged commit just now; nothing was done.")
    (directory.path / "promote").touch()
    deadline = time.monotonic() + SWITCH_SECONDS
    while (now := read_json(directory.cluster)["primary"]) == record["primary"]:
        if time.monotonic() > deadline:
            raise StackFailure(f"The primary is the same after {SWITCH_SECONDS} s.")
        time.sleep(POLL_SECONDS)
    return str(now)
