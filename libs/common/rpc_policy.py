"""What every rpc promises and demands, read from the descriptors once at start."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from google.api import annotations_pb2, http_pb2
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from common.caller import Caller
from erp.options.v1 import options_pb2

__all__ = [
    "Access",
    "Idempotency",
    "PolicyError",
    "Route",
    "RpcPolicy",
    "Settlement",
    "read_policies",
]


# The generated stub of an extension is less than the type checker wants to know.
_RPC: Any = options_pb2.rpc


class PolicyError(Exception):
    """An rpc does not say enough about itself to be served."""


class Idempotency(IntEnum):
    """What happens when a call is repeated (google.protobuf.MethodOptions.IdempotencyLevel)."""

    UNKNOWN = 0
    NO_SIDE_EFFECTS = 1
    IDEMPOTENT = 2


class Access(IntEnum):
    """Who may call an rpc (erp.options.v1.Access)."""

    BY_PERMISSION = 0
    ANYBODY = 1
    ONESELF = 2


@dataclass(frozen=True)
class Route:
    """The REST route of an rpc: POST /api/v1/orders/{id}:confirm."""

    verb: str
    path: str
    # The field that the HTTP body fills, "*" for all that are not in the path, empty for none.
    body: str


@dataclass(frozen=True)
class Settlement:
    """How to learn that the work an rpc sets off elsewhere is done."""

    event: str
    # Full path of the rpc that reads the resource.
    read: str


@dataclass(frozen=True)
class RpcPolicy:
    """The promises and demands of one rpc."""

    path: str
    request: type[Message]
    response: type[Message]
    permission: str
    internal: bool
    route: Route | None
    idempotency: Idempotency
    rate_cost: int
    cache_seconds: float | None
    settlement: Settlement | None
    # The events that end what the gateway keeps of its answers.
    outdated_by: frozenset[str] = frozenset()
    access: Access = Access.BY_PERMISSION
    # Permissions without which a part of the answer is left out.
    parts: frozenset[str] = frozenset()

    @property
    def repeatable(self) -> bool:
        """Whether a call whose answer was lost may be made again."""
        return self.idempotency is not Idempotency.UNKNOWN

    def lets_in(self, caller: Caller) -> bool:
        """Whether a caller may call it."""
        if self.access is not Access.BY_PERMISSION:
            return True
        if self.internal and not caller.is_service:
            return False
        return caller.may(self.permission)


def read_policies(*services: ServiceDescriptor) -> dict[str, RpcPolicy]:
    """The policies of all rpcs of these services by path, "/erp.sales.v1.SalesService/GetOrder".

    Raises:
        PolicyError: an rpc lacks its permission, or is neither routed nor internal, or both.
    """
    methods = [method for service in services for method in service.methods]
    return {policy.path: policy for policy in map(_policy, methods)}


def _policy(method: MethodDescriptor) -> RpcPolicy:
    options = method.GetOptions()
    rpc: options_pb2.RpcOptions = options.Extensions[_RPC]
    route = _route(options.Extensions[annotations_pb2.http])
    _demand(method, rpc, route)
    return RpcPolicy(
        path=_path(method, method.name),
        request=GetMessageClass(method.input_type),
        response=GetMessageClass(method.output_type),
        permission=rpc.permission,
        internal=rpc.internal,
        route=route,
        idempotency=Idempotency(options.idempotency_level),
        rate_cost=rpc.rate_cost or 1,
        cache_seconds=rpc.cache_ttl.ToTimedelta().total_seconds()
        if rpc.HasField("cache_ttl")
        else None,
        settlement=_settlement(method, rpc),
        outdated_by=frozenset(rpc.outdated_by),
        access=Access(rpc.access),
        parts=frozenset(rpc.parts),
    )


def _demand(method: MethodDescriptor, rpc: options_pb2.RpcOptions, route: Route | None) -> None:
    if not rpc.permission and not rpc.access:
        raise PolicyError(f"{method.full_name} names no permission in (erp.options.v1.rpc).")
    if rpc.permission and rpc.access:
        raise PolicyError(f"{method.full_name} names a permission and does not ask for it.")
    if rpc.internal and rpc.access:
        raise PolicyError(f"{method.full_name} is internal and open to others all the same.")
    if route is None and not rpc.internal:
        raise PolicyError(
            f"{method.full_name} has neither a route (google.api.http) nor `internal: true`."
        )
    if route is not None and rpc.internal:
        raise PolicyError(f"{method.full_name} is internal and has a route all the same.")

    if rpc.HasField("cache_ttl") and not _can_be_kept(route):
        raise PolicyError(
            f"{method.full_name} has a cache_ttl, and is not a GET of one record by its id."
        )


def _can_be_kept(route: Route | None) -> bool:
    return route is not None and route.verb == "GET" and route.path.endswith("/{id}")


def _route(rule: http_pb2.HttpRule) -> Route | None:
    verb = rule.WhichOneof("pattern")
    if verb is None or verb == "custom":
        return None
    return Route(verb.upper(), getattr(rule, verb), rule.body)


def _settlement(method: MethodDescriptor, rpc: options_pb2.RpcOptions) -> Settlement | None:
    if not rpc.HasField("settlement"):
        return None
    if rpc.settlement.read not in method.containing_service.methods_by_name:
        raise PolicyError(
            f"{method.full_name} settles by reading {rpc.settlement.read!r}, no rpc beside it."
        )
    return Settlement(rpc.settlement.event, _path(method, rpc.settlement.read))


def _path(method: MethodDescriptor, name: str) -> str:
    return f"/{method.containing_service.full_name}/{name}"
