"""The page of permissions: what each lets its holder do."""

from collections.abc import Iterator

from common.rpc_policy import Access
from gateway.comments import comments
from gateway.contract import all_services
from gateway.routes import Route, Routes

_ACCESS = {Access.ANYBODY: "Anybody", Access.ONESELF: "Everybody who is logged in"}


def permissions_page() -> str:
    """Every permission with the routes that ask for it."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Permissions"
    yield ""
    yield "Each route asks for one. Roles and API tokens hold them by name, or many at once:"
    yield "`sales.*` is all that begins with `sales.`, `*` everything of the tenant."
    by_permission: dict[str, list[Route]] = {}
    for route in Routes(all_services()).all:
        by_permission.setdefault(_holder(route), []).append(route)
    for permission in sorted(by_permission):
        yield ""
        yield f"## {permission}"
        yield ""
        yield "| route | what it does |"
        yield "|---|---|"
        for route in by_permission[permission]:
            said = comments().get(route.method.full_name, "").replace("\n", " ")
            yield f"| `{route.verb} {route.template}` | {said.partition('. ')[0].rstrip('.')}. |"


def _holder(route: Route) -> str:
    return _ACCESS.get(route.policy.access) or f"`{route.policy.permission}`"
