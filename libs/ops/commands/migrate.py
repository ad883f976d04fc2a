"""`kv-erp migrate`: the databases to the newest schema, unless that would break what runs."""

import os
import subprocess
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ops.commands.console import (
    AsJson,
    err,
    failures_as_sentences,
    out,
    print_json,
    print_rows,
    running_wiring,
)
from ops.credentials import DATABASES
from ops.environment import Wiring
from ops.errors import StackFailure
from ops.progress import Progress

if TYPE_CHECKING:
    from ops.migrations import Pending


def migrate(
    check: Annotated[
        bool, typer.Option("--check", help="Show only; exit code 1 if anything is pending.")
    ] = False,
    contract: Annotated[
        bool, typer.Option("--contract", help="Also take away what no running process needs now.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Apply the migrations that the databases of the running stack lack.

    What would break the running version is refused; what is marked as the second step of two waits
    for --contract.
    """
    with failures_as_sentences():
        wiring = running_wiring(os.environ)
        lacking = _lacking(wiring)
        rows = [_row(one) for ones in lacking.values() for one in ones]
        if as_json:
            print_json(rows)
        else:
            print_rows("Pending", rows, empty="Every database has the newest schema.")
        if check:
            raise typer.Exit(1 if rows else 0)
        _refuse(lacking, contract=contract)
        for service, ones in lacking.items():
            if ones:
                with Progress(err).step(f"{service}: {len(ones)} revisions"):
                    _migrate(service, wiring)
        if not as_json and rows:
            out.print("Every database has the newest schema.")


def _lacking(wiring: Wiring) -> "dict[str, list[Pending]]":
    # Alembic takes a third of a second to import, for which every other command would wait.
    from ops.migrations import pending  # noqa: PLC0415

    urls = {service: wiring.database_url(service, "owner") for service in DATABASES}
    return {service: pending(service, url) for service, url in urls.items()}


def _refuse(lacking: "dict[str, list[Pending]]", *, contract: bool) -> None:
    every = [one for ones in lacking.values() for one in ones]
    for one in every:
        for finding in one.findings:
            err.out(f"{one.service} {one.revision}: {finding}", highlight=False)
    if refused := [one for one in every if one.is_refused]:
        names = ", ".join(f"{one.service} {one.revision}" for one in refused)
        raise StackFailure(f"Unsafe while the old version runs: {names}. Nothing was done.")
    if any(one.contract for one in every) and not contract:
        raise StackFailure("There is something to take away: say --contract once no old code runs.")


def _row(one: "Pending") -> dict[str, Any]:
    return {
        "service": one.service,
        "revision": one.revision,
        "title": one.title,
        "contract": one.contract,
        "unsafe": [str(finding) for finding in one.findings],
    }


def _migrate(service: str, wiring: Wiring) -> None:
    command = [sys.executable, "-m", service, "migrate"]
    environment = wiring.for_migration(service)
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackFailure(f"The migrations of {service} failed.", done.stderr)
