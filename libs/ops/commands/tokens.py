"""`kv-erp tokens`: API tokens of a company's software."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from client.client import Client
from ops.commands.console import AsJson, failures_as_sentences, print_json, print_rows
from ops.rest import GatewayUrl, Tenant, Token, as_tenant

app = typer.Typer(no_args_is_help=True, help="API tokens of a company's software.")

_SHOWN = ("id", "name", "prefix", "permissions", "token")


@app.command("list")
def list_tokens(
    tenant: Tenant = "acme", url: GatewayUrl = None, token: Token = None, as_json: AsJson = False
) -> None:
    """List tokens, without their secrets."""

    async def work(api: Client) -> list[Any]:
        return [one async for one in api.iterate_api_tokens()]

    with failures_as_sentences():
        _show(as_tenant(url, token, tenant, work), as_json=as_json)


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    permission: Annotated[list[str], typer.Option(help="Such as sales.*; may be repeated.")],
    tenant: Tenant = "acme",
    url: GatewayUrl = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make a token; its secret is shown now and never again."""

    async def work(api: Client) -> Any:
        return await api.create_api_token(name=name, permissions=permission)

    with failures_as_sentences():
        _show([as_tenant(url, token, tenant, work)], as_json=as_json)


@app.command("revoke")
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id.")],
    tenant: Tenant = "acme",
    url: GatewayUrl = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Make a token useless, everywhere at once."""

    async def work(api: Client) -> None:
        await api.revoke_api_token(token_id)

    with failures_as_sentences():
        as_tenant(url, token, tenant, work)
    if as_json:
        print_json({"revoked": token_id})


def _show(tokens: Sequence[Any], *, as_json: bool) -> None:
    rows = [{name: one[name] for name in _SHOWN} for one in tokens]
    if as_json:
        print_json(rows)
    else:
        shown = [row | {"permissions": ", ".join(row["permissions"])} for row in rows]
        print_rows("API tokens", shown, empty="There is no token.")
