"""`kv-erp db`: databases and roles on a PostgreSQL server of the operator's."""

from pathlib import Path
from typing import Annotated

import typer

from ops.commands.console import failures_as_sentences, out
from ops.credentials import DATABASES, ROLE_KINDS, Credentials
from ops.databases import prepare_databases
from ops.urls import postgres_url_from

app = typer.Typer(no_args_is_help=True, help="Databases and roles on a server of yours.")


@app.callback()
def group() -> None:
    """Keep `init` a command of its own: typer folds a single one into its group."""


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
) -> None:
    """Create the four databases and their roles where they are missing; safe to repeat."""
    with failures_as_sentences():
        superuser_url = postgres_url_from({"DATABASE_URL": url}) or url
        created = prepare_databases(superuser_url, Credentials(secrets))
    for database in DATABASES:
        roles = ", ".join(f"{database}_{kind}" for kind in ROLE_KINDS)
        found = "created" if database in created else "there already"
        out.print(f"{database}: {found}; roles {roles}")
    out.print(f"The passwords are in {secrets}.", soft_wrap=True)
