"""`kv-erp audit`: whether the books and the stock of every tenant still add up."""

import json
from typing import Annotated, Any

import httpx
import typer
from rich.table import Table

from ops.commands.console import (
    dev_directory,
    failures_as_sentences,
    out,
    running_state,
    web_address,
)
from ops.dev_directory import DevDirectory
from ops.errors import StackFailure
from ops.files import read_json

TIMEOUT_SECONDS = 120.0


def audit(
    url: Annotated[
        str | None,
        typer.Option(callback=web_address, help="The gateway; the running local stack if absent."),
    ] = None,
    token: Annotated[
        str | None, typer.Option(envvar="KV_ERP_TOKEN", help="An API token of the tenant at --url.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Check the invariants of the demo tenants and of those of `kv-erp seed`.

    Exit code 1 if one is violated.
    """
    with failures_as_sentences():
        gateway, tokens = _targets(url, token)
        found = {tenant: violations_of(gateway, its_token) for tenant, its_token in tokens.items()}
    if as_json:
        out.out(json.dumps(found, indent=2), highlight=False)
    else:
        _print(found)
    if any(found.values()):
        raise typer.Exit(1)


def violations_of(gateway: str, token: str) -> list[dict[str, Any]]:
    """The violated invariants of the token's tenant; a StackFailure if they can't be checked."""
    try:
        answer = httpx.post(
            f"{gateway}/api/v1/audit/invariants:check",
            headers={"Authorization": f"Bearer {token}"},
            json={},
            timeout=TIMEOUT_SECONDS,
        )
    except httpx.TransportError as error:
        raise StackFailure(f"The gateway at {gateway} cannot be reached: {error}.") from error
    if answer.status_code != httpx.codes.OK:
        raise StackFailure(f"The check answered {answer.status_code}: {answer.text}")
    return list(answer.json()["violations"])


def _targets(url: str | None, token: str | None) -> tuple[str, dict[str, str]]:
    """The gateway and the tokens by tenant."""
    if url and token:
        return url.rstrip("/"), {"tenant": token}
    if url or token:
        raise StackFailure("--url and --token belong together.")
    state = running_state()
    loaded = read_json(DevDirectory(dev_directory()).load) or {"tenants": []}
    tokens = {name: tenant["token"] for name, tenant in state["tenants"].items()}
    return state["gateway"], tokens | {one["slug"]: one["token"] for one in loaded["tenants"]}


def _print(found: dict[str, list[dict[str, Any]]]) -> None:
    for tenant, violations in found.items():
        if not violations:
            out.print(f"[green]✓[/] {tenant}: every invariant holds")
            continue
        table = Table(title=f"{tenant}: {len(violations)} violations", title_justify="left")
        columns = list(dict.fromkeys(name for violation in violations for name in violation))
        for column in columns:
            table.add_column(column, overflow="fold")
        for violation in violations:
            table.add_row(*(_cell(violation.get(column, "")) for column in columns))
        out.print(table)


def _cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
