"""Which permissions there are, and which of them one caller may hand to another."""

from collections.abc import Sequence
from functools import cache

from common.caller import Caller
from common.errors import InvalidField, InvalidRequest, NotPermitted
from common.rpc_policy import read_policies
from gateway.contract import all_services


@cache
def all_permissions() -> frozenset[str]:
    """What the rpcs with a route ask for: "sales.orders.write" and so on."""
    policies = [policy for policy in read_policies(*all_services()).values() if policy.route]
    parts = (part for policy in policies for part in policy.parts)
    return frozenset([*(policy.permission for policy in policies), *parts])


def granted(granter: Caller, asked: Sequence[str]) -> list[str]:
    """The permissions asked for, or all of the granter's when none is named.

    Raises:
        InvalidRequest: there is no such permission.
        NotPermitted: the granter does not hold it.
    """
    unknown = [
        InvalidField(f"/permissions/{index}", "is not a permission that exists")
        for index, permission in enumerate(asked)
        if not _exists(permission)
    ]
    if unknown:
        raise InvalidRequest(unknown)
    for permission in asked:
        if not granter.may(permission):
            raise NotPermitted(permission)
    return sorted(set(asked) or granter.permissions)


def _exists(permission: str) -> bool:
    """Whether it is a permission or stands for some, as "sales.*" and "*" do."""
    group = permission.removesuffix("*")
    if group != permission:
        return not group or (
            group.endswith(".") and any(one.startswith(group) for one in all_permissions())
        )
    return permission in all_permissions()
