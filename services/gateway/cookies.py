"""The two cookies of people who log in, by names that no other host and no plain HTTP can set."""

from gateway.http_request import HttpRequest

__all__ = ["DEVICE", "SESSION", "device_cookie", "find_cookie", "no_session", "session_cookie"]

SESSION = "__Host-session"
# Tells a browser in which somebody has logged in before from those of strangers.
DEVICE = "__Host-device"
_ATTRIBUTES = "Path=/; Secure; HttpOnly; SameSite=Lax"
_DEVICE_SECONDS = 180 * 86400


def session_cookie(token: str) -> str:
    """Sets a session; the browser forgets it when it is closed, we forget it when it is unused."""
    return f"{SESSION}={token}; {_ATTRIBUTES}"


def no_session() -> str:
    """Takes the session's cookie back."""
    return f"{SESSION}=; {_ATTRIBUTES}; Max-Age=0"


def device_cookie(token: str) -> str:
    """Marks a browser for 180 days."""
    return f"{DEVICE}={token}; {_ATTRIBUTES}; Max-Age={_DEVICE_SECONDS}"


def find_cookie(request: HttpRequest, name: str) -> str | None:
    """The value of a cookie; None when there is none, "" when it is ambiguous."""
    found = [
        value.strip()
        for header in request.cookies
        for pair in header.decode("latin-1").split(";")
        for key, equals, value in (pair.partition("="),)
        if equals and key.strip() == name
    ]
    if not found:
        return None
    return found[0] if len(found) == 1 else ""
