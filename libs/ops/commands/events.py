"""`kv-erp events`: how far the listeners are, and how to send one back."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from ops.commands.console import (
    AsJson,
    OperatorUrl,
    Yes,
    confirm,
    failures_as_sentences,
    out,
    print_json,
    print_rows,
    running_state,
)
from ops.credentials import DATABASES
from ops.errors import StackFailure
from ops.event_positions import Place, move, places
from ops.urls import with_database

app = typer.Typer(no_args_is_help=True, help="How far the listeners are, and sending one back.")

Service = Annotated[str, typer.Option(help="The service that listens, such as accounting.")]
Listener = Annotated[str, typer.Option(help="Its lane: high, default or low.")]
Source = Annotated[str, typer.Option(help="The service whose events it hears.")]
Tenant = Annotated[str, typer.Option(help="The tenant's id, or its short name in a local stack.")]


@app.command("lag")
def lag(
    every: Annotated[bool, typer.Option("--all", help="Also those that are up to date.")] = False,
    url: OperatorUrl = None,
    as_json: AsJson = False,
) -> None:
    """Show which listeners are behind; exit code 1 if one is ahead of what it listens to."""
    with failures_as_sentences():
        found = places(_databases(url))
    shown = [_row(place) for place in found if every or place.behind]
    if as_json:
        print_json(shown)
    else:
        print_rows("Listeners", shown, empty=f"All {len(found)} listeners are up to date.")
    if any(place.behind < 0 for place in found):
        raise typer.Exit(1)


@app.command("replay")
def replay(
    service: Service,
    source: Source,
    tenant: Tenant,
    after: Annotated[int, typer.Option(min=0, help="The last event that is not heard again.")],
    listener: Listener = "high",
    yes: Yes = False,
    url: OperatorUrl = None,
    as_json: AsJson = False,
) -> None:
    """Let a listener hear a tenant's events again from a position on.

    Its effects happen again, unless the listener knows that it has had them.
    """
    with failures_as_sentences():
        urls, tenant_id = _databases(url), _tenant_id(tenant)
        wanted = (service, listener, source, tenant_id)
        place = next((one for one in places(urls) if _key(one) == wanted), None)
        if place is None:
            raise StackFailure(f"{service} has no listener {listener} of {source} for {tenant}.")
        if after >= place.position:
            raise StackFailure(
                f"It is at {place.position}: --after must be less, or events would be left out."
            )
        count = place.position - after
        confirm(f"Let {service} hear {count} events of {source} for {tenant} again?", yes=yes)
        move(urls, place, after)
    _report([{**_row(place), "moved_to": after}], as_json=as_json)


@app.command("realign")
def realign(yes: Yes = False, url: OperatorUrl = None, as_json: AsJson = False) -> None:
    """After a restore: set listeners that are ahead of their source back to its head."""
    with failures_as_sentences():
        urls = _databases(url)
        ahead = [place for place in places(urls) if place.behind < 0]
        if ahead:
            confirm(f"Set {len(ahead)} listeners back to their sources' heads?", yes=yes)
        for place in ahead:
            move(urls, place, place.head)
    _report([{**_row(place), "moved_to": place.head} for place in ahead], as_json=as_json)


def _databases(url: str | None) -> Mapping[str, str]:
    """The superuser's URLs by service."""
    if url is None:
        return dict(running_state()["databases"])
    return {service: with_database(url, service) for service in DATABASES}


def _tenant_id(tenant: str) -> str:
    if len(tenant) == len("00000000-0000-0000-0000-000000000000"):
        return tenant
    tenants = running_state()["tenants"]
    if tenant not in tenants:
        raise StackFailure(f"There is no tenant {tenant}; there are {', '.join(tenants)}.")
    return str(tenants[tenant]["id"])


def _key(place: Place) -> tuple[str, str, str, str]:
    return place.service, place.listener, place.source, place.tenant


def _row(place: Place) -> dict[str, Any]:
    return {
        "service": place.service,
        "listener": place.listener,
        "source": place.source,
        "tenant": place.tenant,
        "position": place.position,
        "head": place.head,
        "behind": place.behind,
        "state": "ahead" if place.behind < 0 else "behind" if place.behind else "up to date",
        "attempts": place.attempts,
        "retry_at": place.retry_at,
    }


def _report(rows: Sequence[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print_json(rows)
    else:
        print_rows("Moved", rows, empty="No listener is ahead of its source.")
        out.print("Check now: kv-erp audit") if rows else None
