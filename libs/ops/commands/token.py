"""`kv-erp token`: short-lived identities for calling the services' gRPC by hand."""

import base64
from typing import Annotated
from uuid import UUID

import typer

from common.caller import service_caller
from common.identity import Minter
from ops.commands.console import (
    AsJson,
    dev_directory,
    failures_as_sentences,
    print_json,
    running_state,
)
from ops.credentials import DATABASES, Credentials
from ops.dev_directory import DevDirectory
from ops.errors import StackFailure

OPERATOR = "operator"

app = typer.Typer(no_args_is_help=True, help="Identities for calling gRPC by hand.")


@app.callback()
def group() -> None:
    """Keep `mint` a command of its own: typer folds a single one into its group."""


@app.command("mint")
def mint(
    tenant: Annotated[str, typer.Option(help="The tenant's short name, such as acme.")],
    audience: Annotated[str, typer.Option(help="The service to call.")] = "sales",
    as_json: AsJson = False,
) -> None:
    """Print an identity that is valid for a minute: `-H "authorization: Bearer $(…)"`."""
    with failures_as_sentences():
        tenants = running_state()["tenants"]
        if tenant not in tenants:
            raise StackFailure(f"There is no tenant {tenant}; there are {', '.join(tenants)}.")
        if audience not in DATABASES:
            raise StackFailure(f"There is no service {audience}; there are {', '.join(DATABASES)}.")
        credentials = Credentials(DevDirectory(dev_directory()).secrets)
        name, _, seed = credentials.identity_key(OPERATOR).partition(":")
        minter = Minter(name, base64.urlsafe_b64decode(seed))
        caller = service_caller(OPERATOR, UUID(tenants[tenant]["id"]))
        identity = minter.mint(caller, audience)
    if as_json:
        print_json({"tenant": tenant, "audience": audience, "identity": identity})
    else:
        typer.echo(identity)
