"""Where a caller is, on its way from the HTTP request to the gateway's own rpcs."""

from typing import Any

from common.rpc_policy import Access
from gateway.cookies import DEVICE, SESSION, find_cookie
from gateway.http_request import HttpRequest
from gateway.login_limits import Visit

__all__ = ["visit_metadata", "visit_of"]

_ADDRESS = "x-visit-address"
_AGENT = "x-visit-agent"
_DEVICE = "x-visit-device"
_SESSION = "x-visit-session"
_LONGEST_AGENT = 150
_LONGEST_DEVICE = 300
_LONGEST_SESSION = 200


def visit_metadata(request: HttpRequest) -> list[tuple[str, str]]:
    """What the gateway's own rpcs are told of where a request comes from."""
    agent = _printable(request.user_agent.decode("latin-1"))[:_LONGEST_AGENT]
    device = _printable(find_cookie(request, DEVICE) or "")[:_LONGEST_DEVICE]
    pairs = [(_ADDRESS, request.address), (_AGENT, agent), (_DEVICE, device)]
    if request.route and request.route.policy.access is Access.ANYBODY:
        # Nobody has looked at it at the door.
        session = _printable(find_cookie(request, SESSION) or "")[:_LONGEST_SESSION]
        pairs.append((_SESSION, session))
    return pairs


def visit_of(context: Any) -> Visit:
    """Where the request of an rpc comes from."""
    metadata = dict(context.invocation_metadata())
    address = metadata.get(_ADDRESS, "the mesh")
    agent, device = metadata.get(_AGENT, ""), metadata.get(_DEVICE, "")
    return Visit(address, agent, device, metadata.get(_SESSION, ""))


def _printable(text: str) -> str:
    return "".join(one for one in text if " " <= one <= "~").strip()
