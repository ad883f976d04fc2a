"""`kv-erp failed-jobs`: what failed for good, and what is to become of it."""

from typing import Annotated, Any

import httpx
import typer

from ops.commands.console import (
    AsJson,
    Yes,
    confirm,
    failures_as_sentences,
    out,
    print_json,
    print_rows,
)
from ops.commands.gateway_api import Tenant, Token, Url, ask, targets
from ops.errors import StackFailure

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of failures, as `list` shows them.")]
All = Annotated[bool, typer.Option("--all", help="All failures of these tenants.")]

app = typer.Typer(help="Look at failed jobs and events; retry or discard them.")


@app.command("list")
def list_failures(
    url: Url = None, token: Token = None, tenant: Tenant = None, as_json: AsJson = False
) -> None:
    """List jobs and events that failed for good, newest first."""
    with failures_as_sentences():
        found = {name: _all(client) for name, client in targets(url, token, tenant).items()}
    if as_json:
        print_json(found)
        return
    rows = [
        {
            "tenant": name,
            "id": failure["id"],
            "service": failure["service"],
            "name": failure["name"],
            "attempts": failure["attempts"],
            "failed": failure["fail_time"],
            "error": failure["error"],
        }
        for name, failures in found.items()
        for failure in failures
    ]
    print_rows("Failed jobs", rows, empty="Nothing has failed for good.")


@app.command()
def retry(
    ids: Ids = None,
    every: All = False,
    url: Url = None,
    token: Token = None,
    tenant: Tenant = None,
    as_json: AsJson = False,
) -> None:
    """Have failures tried again."""
    with failures_as_sentences():
        done = _each("retry", ids or [], targets(url, token, tenant), every=every)
    if as_json:
        print_json({"retried": done})
    else:
        out.print(f"{done} to be tried again")


@app.command()
def discard(
    ids: Ids = None,
    every: All = False,
    url: Url = None,
    token: Token = None,
    tenant: Tenant = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Give failures up for good."""
    with failures_as_sentences():
        confirm("What is discarded is never done. Discard?", yes=yes)
        done = _each("discard", ids or [], targets(url, token, tenant), every=every)
    if as_json:
        print_json({"discarded": done})
    else:
        out.print(f"{done} discarded")


def _each(verb: str, ids: list[str], clients: dict[str, httpx.Client], *, every: bool) -> int:
    """Do this to the failures that are meant; how many they were."""
    if bool(ids) == every:
        raise StackFailure("Name ids, or say --all.")
    known = {failure["id"]: client for client in clients.values() for failure in _all(client)}
    if unknown := [failure_id for failure_id in ids if failure_id not in known]:
        raise StackFailure(f"There is no failed job {unknown[0]}; nothing was done.")
    wanted = known if every else dict.fromkeys(ids)
    for failure_id in wanted:
        ask(known[failure_id], "POST", f"/failed-jobs/{failure_id}:{verb}")
    return len(wanted)


def _all(client: httpx.Client) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    page_token = ""
    while True:
        page = ask(client, "GET", "/failed-jobs", page_size=200, page_token=page_token)
        found += page["failed_jobs"]
        page_token = page["next_page_token"]
        if not page_token:
            return found
