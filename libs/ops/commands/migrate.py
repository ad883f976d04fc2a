"""`kv-erp migrate`: the databases to the newest schema, unless that would break what runs."""

import os
import subprocess
import sys
from typing import Annotated, Any

import typer

from ops.commands.console import (
    AsJson,
    dev_directory,
    err,
    failures_as_sentences,
    out,
    print_json,
    print_rows,
    running_state,
)
from ops.credentials import DATABASES, Credentials
from ops.dev_directory import DevDirectory
from ops.errors import StackFailure
from ops.migrations import Pending, pending
from ops.progress import Progress
from ops.urls import with_account


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
        urls = _owner_urls()
        lacking = {service: pending(service, url) for service, url in urls.items()}
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
                    _migrate(service, urls[service])
        if not as_json and rows:
            out.print("Every database has the newest schema.")


def _refuse(lacking: dict[str, list[Pending]], *, contract: bool) -> None:
    every = [one for ones in lacking.values() for one in ones]
    for one in every:
        for finding in one.findings:
            err.out(f"{one.service} {one.revision}: {finding}", highlight=False)
    if refused := [one for one in every if one.is_refused]:
        names = ", ".join(f"{one.service} {one.revision}" for one in refused)
        raise StackFailure(f"Unsafe while the old version runs: {names}. Nothing was done.")
    if any(one.contract for one in every) and not contract:
        raise StackFailure("There is something to take away: say --contract once no old code runs.")


def _row(one: Pending) -> dict[str, Any]:
    return {
        "service": one.service,
        "revision": one.revision,
        "title": one.title,
        "contract": one.contract,
        "unsafe": [str(finding) for finding in one.findings],
    }


def _owner_urls() -> dict[str, str]:
    urls = running_state()["databases"]
    credentials = Credentials(DevDirectory(dev_directory()).secrets)
    roles = {service: f"{service}_owner" for service in DATABASES}
    return {
        service: with_account(urls[service], role, credentials.role_password(role))
        for service, role in roles.items()
    }


def _migrate(service: str, url: str) -> None:
    own = ("KV_ERP_DEV_DIR", "KV_ERP_HTTP_PORT", "KV_ERP_OPERATOR_URL", "KV_ERP_BACKUP_STORE")
    kept = {name: value for name, value in os.environ.items() if name not in own}
    environment = {**kept, "KV_ERP_MIGRATION_DATABASE_URL": url}
    command = [sys.executable, "-m", service, "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StackFailure(f"The migrations of {service} failed.", done.stderr)
