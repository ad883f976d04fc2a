"""How much a client may ask, by the plan of its tenant."""

from dataclasses import dataclass

from common.errors import InvalidRequest
from common.rate_limit import Bucket
from gateway.credentials import Client

__all__ = ["DEFAULT", "Plans", "demand_plan"]

DEFAULT = "default"
WINDOW_SECONDS = 60
_UNMETERED = "unmetered"
_NAMES = (DEFAULT, _UNMETERED)
_PREFIX = "rate_limit:tenant:"


@dataclass(frozen=True)
class Plan:
    """Requests a minute: of one user and from one address to one route, and of a tenant in all."""

    per_user: int
    per_address: int
    per_tenant: int

    def buckets(self, client: Client, address: str, template: str) -> tuple[Bucket, ...]:
        """What a request of this client to this route counts against."""
        caller = client.caller
        tenant = f"{_PREFIX}{caller.tenant_id}"
        user = caller.subject.rpartition(":")[2]
        return (
            _bucket("user", f"{tenant}:user:{user}:route:{template}", self.per_user),
            _bucket("address", f"{tenant}:ip:{address}:route:{template}", self.per_address),
            _bucket("tenant", tenant, self.per_tenant),
        )


class Plans:
    """All plans. A plan that nobody knows is the default one.

    Args:
        per_user: requests a minute of a user to a route on the default plan.
    """

    def __init__(self, per_user: int = 60) -> None:
        # One address may use up what its tenant has, since an office has one address.
        self._plans = {DEFAULT: Plan(per_user, 600, 600)}
        self._anonymous = 60

    def buckets(self, client: Client | None, address: str, template: str) -> tuple[Bucket, ...]:
        """What a request counts against; nothing when the client's plan is unmetered.

        Args:
            client: who asks, None when nobody known does.
            address: where from.
            template: the route's path.
        """
        if client is None:
            key = f"{_PREFIX}anonymous:ip:{address}:route:{template}"
            return (_bucket("address", key, self._anonymous),)
        if client.plan == _UNMETERED:
            return ()
        plan = self._plans.get(client.plan, self._plans[DEFAULT])
        return plan.buckets(client, address, template)


def demand_plan(name: str) -> None:
    """Let a plan be given that there is.

    Raises:
        InvalidRequest: there is none of that name.
    """
    if name not in _NAMES:
        raise InvalidRequest.of("/plan", f"must be one of {', '.join(_NAMES)}")


def _bucket(name: str, key: str, limit: int) -> Bucket:
    return Bucket(name, key, limit, WINDOW_SECONDS)
