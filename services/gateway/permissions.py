"""Which permissions there are, and which of them one caller may hand to another."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cache

from common import caller
from common.caller import ABOVE_TENANTS, Caller
from common.errors import InvalidField, InvalidRequest, NotPermitted
from common.rpc_policy import read_policies
from gateway.contract import all_services

__all__ = [
    "all_permissions",
    "demand_all",
    "granted",
    "meet",
    "refuse_unknown",
    "routes_by_permission",
]


@cache
def all_permissions() -> frozenset[str]:
    """What the rpcs with a route ask for: "sales.orders.write" and so on."""
    return frozenset(name for name, _ in _opened())


def routes_by_permission() -> list[tuple[str, list[str]]]:
    """What there is to be permitted in the caller's company, and the routes that each opens."""
    who, opened = caller.current(), dict[str, list[str]]()
    for name, route in _opened():
        if who.may(name) or not name.startswith(ABOVE_TENANTS):
            opened.setdefault(name, []).append(route)
    return [(name, sorted(routes)) for name, routes in sorted(opened.items())]


def _opened() -> Iterator[tuple[str, str]]:
    """Each permission with each route that it opens, be it a part of the answer only."""
    for policy in read_policies(*all_services()).values():
        if policy.route:
            for name in filter(None, (policy.permission, *policy.parts)):
                yield name, f"{policy.route.verb} {policy.route.path}"


def granted(granter: Caller, asked: Sequence[str]) -> list[str]:
    """The permissions asked for, or all of the granter's when none is named.

    Raises:
        InvalidRequest: there is no such permission.
        NotPermitted: the granter does not hold it.
    """
    refuse_unknown(asked)
    demand_all(granter, asked)
    return sorted(set(asked) or granter.permissions)


def refuse_unknown(asked: Sequence[str]) -> None:
    """Refuse a list of permissions in which one does not exist.

    Raises:
        InvalidRequest: one does not.
    """
    unknown = [
        InvalidField(f"/permissions/{index}", "is not a permission that exists")
        for index, permission in enumerate(asked)
        if not _exists(permission)
    ]
    if unknown:
        raise InvalidRequest(unknown)


def demand_all(granter: Caller, permissions: Iterable[str]) -> None:
    """Refuse a granter who does not hold all of these: nobody gives, or takes, what they lack.

    Raises:
        NotPermitted: the granter lacks one. All that "sales.*" stands for today is less than it.
    """
    for permission in sorted(permissions):
        if not granter.may(permission):
            raise NotPermitted(permission)


def meet(some: Collection[str], others: Collection[str]) -> frozenset[str]:
    """What is permitted by both of two lists."""
    first, second = _holder(some), _holder(others)
    return frozenset(one for one in some if second.may(one)) | frozenset(
        one for one in others if first.may(one)
    )


def _holder(permissions: Collection[str]) -> Caller:
    return Caller(None, "nobody", frozenset(permissions))


def _exists(permission: str) -> bool:
    """Whether it is a permission or stands for some, as "sales.*" and "*" do."""
    group = permission.removesuffix("*")
    if group != permission:
        return not group or (
            group.endswith(".") and any(one.startswith(group) for one in all_permissions())
        )
    return permission in all_permissions()
