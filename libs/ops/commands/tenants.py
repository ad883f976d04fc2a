"""`kv-erp tenants`: companies, as an operator of the platform."""

import asyncio
import base64
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import typer
from rich.progress import Progress

from client.client import Client
from client.requests import Options
from ops.commands.console import (
    AsJson,
    Yes,
    confirm,
    err,
    failures_as_sentences,
    print_json,
    print_rows,
)
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


@app.command("export")
def export(
    slug: Slug,
    reason: Reason,
    to: Annotated[Path, typer.Option(help="The file to write; it must not be there yet.")],
    url: GatewayUrl = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Write all that every service holds of a company to a ZIP archive."""

    async def work(api: Client) -> Any:
        found = await _find(api, slug)
        begun = await api.export_tenant(found["id"], reason=reason)
        written = await _written(api, found["id"], begun)
        with to.open("xb") as file:
            await _fetch(api, found["id"], written, file)
        return written

    with failures_as_sentences():
        if to.exists():
            raise StackFailure(f"{to} is there already.")
        written = as_operator(url, token, work)
        row = {"file": str(to)} | {
            name: written[name] for name in ("total_rows", "bytes", "sha256")
        }
        print_json(row) if as_json else print_rows("Export", [row], empty="")


async def _written(api: Client, tenant_id: str, export: Any) -> Any:
    # Its progress is shown meanwhile.
    with Progress(console=err) as progress:
        bar = progress.add_task("tables", total=None)
        while export["state"] in ("waiting", "running"):
            await asyncio.sleep(0.5)
            export = await api.get_export_of_tenant(tenant_id, export["id"])
            done, total = export["done_tables"], export["total_tables"]
            progress.update(bar, completed=done, total=total or None)
    if export["state"] == "failed":
        raise StackFailure(f"The export failed: {export['error']}")
    return export


async def _fetch(api: Client, tenant_id: str, export: Any, file: BinaryIO) -> None:
    digest = hashlib.sha256()
    for part in range(export["parts"]):
        found = await api.get_export_of_tenant(tenant_id, export["id"], part=part)
        content = base64.b64decode(found["content"])
        digest.update(content)
        file.write(content)
    if digest.hexdigest() != export["sha256"]:
        raise StackFailure("What was fetched is not what was written: its SHA-256 differs.")


@app.command("delete")
def delete(
    slug: Slug,
    reason: Reason,
    confirm_slug: Annotated[
        str, typer.Option("--confirm", help="The short name again; asked for if absent.")
    ] = "",
    yes: Yes = False,
    wait: Annotated[
        bool, typer.Option(help="Wait until no row is left, and show how far it is.")
    ] = False,
    url: GatewayUrl = None,
    token: Token = None,
    as_json: AsJson = False,
) -> None:
    """Delete a suspended company for good: every row of it in every service."""

    async def work(api: Client) -> Any:
        found = await _find(api, slug)
        deletion = await api.delete_tenant(found["id"], confirm_slug=confirm_slug, reason=reason)
        return await _followed(api, deletion) if wait else deletion

    with failures_as_sentences():
        confirm(f"Delete all that every service holds of {slug}, for good?", yes=yes)
        confirm_slug = confirm_slug or typer.prompt("Type its short name")
        shown = ("id", "slug", "state", "removed_tables", "total_tables")
        deletion = as_operator(url, token, work)
        row = {name: deletion[name] for name in shown}
        print_json(row) if as_json else print_rows("Deletion", [row], empty="")


async def _followed(api: Client, deletion: Any) -> Any:
    # Its progress is shown meanwhile.
    with Progress(console=err) as progress:
        bar = progress.add_task("tables", total=None)
        while "finish_time" not in deletion:
            await asyncio.sleep(0.5)
            deletion = await api.get_tenant_deletion(deletion["id"])
            done, total = deletion["removed_tables"], deletion["total_tables"]
            progress.update(bar, completed=done, total=total or None)
    return deletion


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
