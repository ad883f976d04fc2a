"""The page about the built-in roles: which rpc each of them may call."""

from collections.abc import Iterator

from common.caller import Caller
from common.rpc_policy import Access, RpcPolicy, read_policies
from gateway.built_in_roles import BUILT_IN
from gateway.contract import all_services

_HEAD = """# Roles

What the built-in roles may call: `yes` in a role's column. Made from the contract by `make docs`;
the permissions of each rpc are those of the protos, and a test calls every rpc as every role, over
REST and past the gateway, and compares what happens with this page.

*anybody* asks for no credential at all, *oneself* for no permission beside being logged in. What
has no route is called by services on their own account only: no role opens it."""
_ASKS = {Access.ANYBODY: "*anybody*", Access.ONESELF: "*oneself*"}


def roles_page() -> str:
    """Every rpc with its route, what it asks for, and who of the built-in roles has it."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    yield ""
    yield f"| rpc | route | asks for | {' | '.join(BUILT_IN)} |"
    yield "|---" * (3 + len(BUILT_IN)) + "|"
    for policy in read_policies(*all_services()).values():
        route = f"`{policy.route.verb} {policy.route.path}`" if policy.route else ""
        asks = _ASKS.get(policy.access) or f"`{policy.permission}`"
        marks = ("yes" if _may(role, policy) else "" for role in BUILT_IN)
        yield f"| `{policy.path}` | {route} | {asks} | {' | '.join(marks)} |"


def _may(role: str, policy: RpcPolicy) -> bool:
    holder = Caller(None, "user:somebody", BUILT_IN[role].permissions, ("gateway",))
    return policy.lets_in(holder)
