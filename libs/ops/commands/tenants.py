"""`kv-erp tenants`: companies, as an operator of the platform."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from client.client import Client
from client.requests import Options
from ops.commands.console import AsJson, Yes, confirm, failures_as_sentences, print_json, print_rows
from ops.errors import StackFailure
from ops.rest import GatewayUrl, Token, as_operator

app = typer.Typer(no_args_is_help=True, help="Companies, as an operator of the platform.")

SECONDS_TO_SETTLE_IN = 20
_SHOWN = ("id", "slug", "name", "plan", "state", "version")
Slug = Annotated[str, typer.Argument(help="The company's short name.")]
Reason = Annotated[str, typer.Option(help="Why, for the record that the company can read.")]


@app.command("list")
def list_tenants(url: GatewayUrl = None, token: Token = None, as_json: AsJson = False) -> None:
    """List companies."""

    async def work(api: Client) -> list[Any]:
        return [one async for one in api.iterate_tenants()]

    with failures_as_sentences():
        _show(as_operator(url, token, work), as_json=as_json)


@app.command("create")
def create(
    slug: Slug,
    name: Annotated[str, typer.Option(help="What people call it.")],
    admin: Annotated[str, typer.Option(help="Mail address of its first user.")],
    currency: Annotated[str, typer.Option(help="ISO 4217 code, for ever.")] = "EUR",
    plan: Annotated[str, typer.Option(help="What it may use.")] = "default",
    reason: Reason = "",
    url: GatewayUrl = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Create a company with books, roles, a warehouse and a first user; shows their setup token."""

    async def work(api: Client) -> Any:
        return await api.create_tenant(
            Options(wait_seconds=SECONDS_TO_SETTLE_IN),
            slug=slug,
            name=name,
            currency_code=currency,
            plan=plan,
            admin={"email": admin},
            reason=reason,
        )

    with failures_as_sentences():
        made = as_operator(url, token, work)
        setup_token = made["admin"]["setup_token"]
        _show([made], as_json=as_json, more={"setup_token": setup_token})


@app.command("plan")
def change_plan(
    slug: Slug,
    plan: Annotated[str, typer.Argument(help="What it may use from now on.")],
    reason: Reason = "",
    url: GatewayUrl = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Change a company's plan; it counts from the next request on."""

    async def work(api: Client) -> Any:
        found = await _find(api, slug)
        version = found["version"]
        return await api.update_tenant(found["id"], version=version, plan=plan, reason=reason)

    with failures_as_sentences():
        _show([as_operator(url, token, work)], as_json=as_json)


@app.command("suspend")
def suspend(
    slug: Slug,
    reason: Reason,
    yes: Yes = False,
    url: GatewayUrl = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Keep a company out; its data stays."""

    async def work(api: Client) -> Any:
        return await api.suspend_tenant((await _find(api, slug))["id"], reason=reason)

    with failures_as_sentences():
        confirm(f"Keep everybody of {slug} out?", yes=yes)
        _show([as_operator(url, token, work)], as_json=as_json)


@app.command("resume")
def resume(
    slug: Slug,
    reason: Reason,
    url: GatewayUrl = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Let a company in again that was kept out."""

    async def work(api: Client) -> Any:
        return await api.resume_tenant((await _find(api, slug))["id"], reason=reason)

    with failures_as_sentences():
        _show([as_operator(url, token, work)], as_json=as_json)


async def _find(api: Client, slug: str) -> Any:
    async for one in api.iterate_tenants():
        if one["slug"] == slug:
            return one
    raise StackFailure(f"There is no tenant {slug}.")


def _show(tenants: Sequence[Any], *, as_json: bool, more: Mapping[str, str] | None = None) -> None:
    rows = [{name: one[name] for name in _SHOWN} | dict(more or {}) for one in tenants]
    if as_json:
        print_json(rows)
    else:
        print_rows("Companies", rows, empty="There is no company.")
