"""The gateway as commands ask it: which one, with whose token, and what its refusals mean."""

from typing import Annotated, Any

import httpx
import typer

from ops.commands.console import running_state, web_address
from ops.errors import StackFailure

Url = Annotated[
    str | None,
    typer.Option(callback=web_address, help="The gateway; the running local stack if absent."),
]
Token = Annotated[
    str | None, typer.Option(envvar="KV_ERP_TOKEN", help="An API token of the tenant at --url.")
]
Tenant = Annotated[
    str | None, typer.Option(help="Only this tenant of the local stack; all if absent.")
]
TIMEOUT_SECONDS = 30.0


def targets(url: str | None, token: str | None, tenant: str | None) -> dict[str, httpx.Client]:
    """A client for each tenant that is meant; a StackFailure if none can be."""
    if url and token:
        return {tenant or "tenant": _client(url, token)}
    if url or token:
        raise StackFailure("--url and --token belong together.")
    state = running_state()
    tenants = {name: each["token"] for name, each in state["tenants"].items()}
    if tenant is not None and tenant not in tenants:
        raise StackFailure(f"The stack has no tenant {tenant}: {', '.join(tenants)}.")
    return {
        name: _client(state["gateway"], its_token)
        for name, its_token in tenants.items()
        if tenant in (None, name)
    }


def ask(client: httpx.Client, method: str, path: str, **parameters: Any) -> dict[str, Any]:
    """What the gateway answers; a StackFailure if it refuses or cannot be reached."""
    body: dict[str, Any] | None = {} if method == "POST" else None
    try:
        answer = client.request(method, f"/api/v1{path}", params=parameters, json=body)
    except httpx.TransportError as error:
        raise StackFailure(f"The gateway cannot be reached: {error}.") from error
    if answer.is_error:
        detail = answer.json().get("detail", answer.text)
        raise StackFailure(f"The gateway answered {answer.status_code}: {detail}")
    return dict(answer.json())


def _client(url: str, token: str) -> httpx.Client:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.Client(base_url=url.rstrip("/"), headers=headers, timeout=TIMEOUT_SECONDS)
