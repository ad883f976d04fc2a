"""How commands call the REST API: by the typed client, as an operator or as a tenant's token."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from client.client import Client
from client.problems import Problem, Unreachable
from ops.commands.console import running_state, web_address
from ops.errors import StackFailure

__all__ = ["GatewayUrl", "Tenant", "Token", "as_operator", "as_tenant"]

Result = TypeVar("Result")
Work = Callable[[Client], Awaitable[Result]]

GatewayUrl = Annotated[
    str | None,
    typer.Option(
        "--url", callback=web_address, help="The gateway; the running local stack's if absent."
    ),
]
Token = Annotated[str | None, typer.Option(envvar="KV_ERP_TOKEN", help="An API token, for --url.")]
Tenant = Annotated[str, typer.Option(help="The tenant's short name, in a local stack.")]


def as_operator(url: str | None, token: str | None, work: Work[Result]) -> Result:
    """What `work` gives as an operator of the platform, by default the local stack's."""
    if url is None:
        state = running_state()
        url, token = state["gateway"], token or state["operator"]["token"]
    return _call(url, token, work)


def as_tenant(url: str | None, token: str | None, tenant: str, work: Work[Result]) -> Result:
    """What `work` gives by a tenant's token, by default that of one of the local stack's."""
    if url is None:
        state = running_state()
        if token is None and tenant not in state["tenants"]:
            known = ", ".join(state["tenants"])
            raise StackFailure(f"There is no tenant {tenant}; there are {known}.")
        url, token = state["gateway"], token or state["tenants"][tenant]["token"]
    return _call(url, token, work)


def _call(url: str, token: str | None, work: Work[Result]) -> Result:
    if token is None:
        raise StackFailure("--url needs a --token.")

    async def call() -> Result:
        async with Client(url.rstrip("/"), token) as api:
            return await work(api)

    try:
        return asyncio.run(call())
    except Problem as error:
        raise StackFailure(str(error)) from error
    except Unreachable as error:
        raise StackFailure(f"The gateway at {url} cannot be reached.") from error
