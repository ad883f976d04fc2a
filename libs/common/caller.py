"""Who is calling: tenant, user and permissions of the request at hand, from a verified token."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from uuid import UUID

from common.errors import Unauthenticated

# What permissions over tenants begin with: those of the platform's operators.
ABOVE_TENANTS = "platform."


@dataclass(frozen=True)
class Caller:
    """A verified caller."""

    # None only for a service that asks about all tenants at once.
    tenant_id: UUID | None
    # "user:<id>", "token:<id>" or "service:<name>".
    subject: str
    permissions: frozenset[str] = field(default_factory=frozenset)
    # The services that the request came through, first one first.
    actors: tuple[str, ...] = ()
    request_id: str = ""
    # The session by which a person is logged in; empty for software.
    session_id: str = ""

    @property
    def is_service(self) -> bool:
        """Whether a service asks on its own account, not the gateway for somebody outside."""
        return self.subject.startswith("service:") or self.actors[-1:] not in ((), ("gateway",))

    def may(self, permission: str) -> bool:
        """Whether the caller holds the permission; "inventory.*" and "*" hold all below them.

        "*" is everything of a tenant: what is above tenants has to be held by its own name.
        """
        if permission in self.permissions:
            return True
        if "*" in self.permissions and not permission.startswith(ABOVE_TENANTS):
            return True
        parts = permission.split(".")
        return any(
            ".".join(parts[:length]) + ".*" in self.permissions for length in range(1, len(parts))
        )


_current: ContextVar[Caller | None] = ContextVar("caller", default=None)


def current() -> Caller:
    """The caller of the request at hand.

    Raises:
        Unauthenticated: nobody has been verified, so nothing may be read or written.
    """
    caller = _current.get()
    if caller is None:
        raise Unauthenticated("No caller has been verified for this work.")
    return caller


def current_or_none() -> Caller | None:
    """The caller, or None outside a request: for logs."""
    return _current.get()


def become(caller: Caller) -> None:
    """Do the rest of this task on behalf of this caller."""
    _current.set(caller)


@contextmanager
def acting_as(caller: Caller) -> Iterator[Caller]:
    """Do what is inside on behalf of this caller."""
    token = _current.set(caller)
    try:
        yield caller
    finally:
        _current.reset(token)


def service_caller(service: str, tenant_id: UUID | None, request_id: str = "") -> Caller:
    """A service working on its own account, for one tenant or (None) over all of them."""
    return Caller(tenant_id, f"service:{service}", frozenset({"*"}), (), request_id)
