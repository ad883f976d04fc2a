"""`kv-erp users`: the people of a company."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from client.client import Client
from ops.commands.console import AsJson, Yes, confirm, failures_as_sentences, print_json, print_rows
from ops.errors import StackFailure
from ops.rest import GatewayUrl, Tenant, Token, as_tenant

app = typer.Typer(no_args_is_help=True, help="The people of a company.")

_SHOWN = ("id", "email", "name", "state", "setup_token")
Email = Annotated[str, typer.Argument(help="The user's mail address.")]


@app.command("list")
def list_users(
    tenant: Tenant = "acme", url: GatewayUrl = None, token: Token = None, as_json: AsJson = False
) -> None:
    """List users."""

    async def work(api: Client) -> list[Any]:
        return [one async for one in api.iterate_users()]

    with failures_as_sentences():
        _show(as_tenant(url, token, tenant, work), as_json=as_json)


@app.command("create")
def create(
    email: Email,
    role: Annotated[list[str], typer.Option(help="The name of a role; may be repeated.")],
    name: Annotated[str, typer.Option(help="What people call them.")] = "",
    tenant: Tenant = "acme",
    url: GatewayUrl = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Add a user, and show the token with which they choose a password."""

    async def work(api: Client) -> Any:
        roles = {one["name"]: one["id"] async for one in api.iterate_roles()}
        unknown = [one for one in role if one not in roles]
        if unknown:
            raise StackFailure(f"There is no role {unknown[0]}; there are {', '.join(roles)}.")
        role_ids = [roles[one] for one in role]
        return await api.create_user(email=email, name=name, role_ids=role_ids)

    with failures_as_sentences():
        _show([as_tenant(url, token, tenant, work)], as_json=as_json)


@app.command("invite")
def invite(
    email: Email,
    tenant: Tenant = "acme",
    url: GatewayUrl = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make a token with which a user chooses a new password."""

    async def work(api: Client) -> Any:
        return await api.invite_user((await _find(api, email))["id"])

    with failures_as_sentences():
        _show([as_tenant(url, token, tenant, work)], as_json=as_json)


@app.command("deactivate")
def deactivate(
    email: Email,
    tenant: Tenant = "acme",
    yes: Yes = False,
    url: GatewayUrl = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Lock a user out: their sessions and tokens are dead at once."""

    async def work(api: Client) -> Any:
        return await api.deactivate_user((await _find(api, email))["id"])

    with failures_as_sentences():
        confirm(f"Lock {email} out?", yes=yes)
        _show([as_tenant(url, token, tenant, work)], as_json=as_json)


async def _find(api: Client, email: str) -> Any:
    async for one in api.iterate_users():
        if one["email"] == email.lower():
            return one
    raise StackFailure(f"There is no user {email}.")


def _show(users: Sequence[Any], *, as_json: bool) -> None:
    rows = [{name: one[name] for name in _SHOWN} for one in users]
    if as_json:
        print_json(rows)
    else:
        print_rows("Users", rows, empty="There is no user.")
