"""What an answer carries besides its message: pairs that travel as trailing metadata."""

from contextvars import ContextVar

IDEMPOTENT_REPLAYED = "idempotent-replayed"
# Cookies to set, as they stand in the header: the gateway's own rpcs alone may say so.
SET_SESSION = "set-session"
SET_DEVICE = "set-device"
CONSISTENCY_TOKEN = "consistency-token"  # noqa: S105 (a name)

_collected: ContextVar[dict[str, str] | None] = ContextVar("trailers", default=None)


def collect() -> dict[str, str]:
    """Begin the trailers of the request at hand; what is added from here on shows up in them."""
    trailers: dict[str, str] = {}
    _collected.set(trailers)
    return trailers


def add(name: str, value: str) -> None:
    """Let the answer carry a pair; outside of a request it goes nowhere."""
    trailers = _collected.get()
    if trailers is not None:
        trailers[name] = value
