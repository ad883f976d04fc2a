"""Requests that a browser was tricked into: who relies on a cookie must prove that they meant it.

A request with a session cookie that is not a GET needs a token of its session in X-CSRF-Token, and
what the browser says of its origin must be us or trusted. OWASP's cheat sheet calls this defence in
depth; the cookie is SameSite=Lax besides.
"""

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass

from common.sessions import Session
from gateway.errors import ForgedRequest
from gateway.http_request import HttpRequest

__all__ = ["Origins", "csrf_token", "refuse_without_token"]

_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OURS = frozenset({b"same-origin", b"none"})


def csrf_token(session: Session) -> str:
    """A token of this session; each has a salt, so that compression tells nothing of the next."""
    salt = secrets.token_urlsafe(16)
    return f"{salt}.{_signature(session, salt)}"


def refuse_without_token(request: HttpRequest, session: Session) -> None:
    """Let a request by, if it cannot change anything or carries a token of its session.

    Raises:
        ForgedRequest: it does not.
    """
    if request.method in _SAFE:
        return
    token = (request.csrf_token or b"").decode("latin-1")
    if not token:
        raise ForgedRequest("The header X-CSRF-Token is missing.")
    salt, _, signature = token.partition(".")
    expected = _signature(session, salt)
    if not hmac.compare_digest(signature.encode("latin-1"), expected.encode()):
        raise ForgedRequest("The header X-CSRF-Token is not of this session.")


@dataclass(frozen=True)
class Origins:
    """Whose pages may send requests with a session cookie.

    Args:
        trusted: origins besides our own, such as "https://app.example.com".
    """

    trusted: Collection[str] = frozenset()

    def refuse_others(self, request: HttpRequest) -> None:
        """Let a request by, if it cannot change anything or no foreign page has sent it.

        Raises:
            ForgedRequest: one has.
        """
        if request.method in _SAFE:
            return
        origin = request.origin
        if origin is None:
            # No page, or an old browser: then the token decides alone.
            if request.fetch_site in (None, *_OURS):
                return
            raise ForgedRequest("It comes from another site.")
        text = origin.decode("latin-1")
        if text not in self.trusted and not self._is_ours(text, request.host):
            raise ForgedRequest(f"It comes from {text[:100]}, which is not trusted.")

    def _is_ours(self, origin: str, host: bytes | None) -> bool:
        # A page cannot choose the Host header. The scheme may differ: TLS ends before us.
        scheme, _, authority = origin.partition("://")
        ours = (host or b"").decode("latin-1").lower()
        return scheme in ("https", "http") and bool(ours) and authority == ours


def _signature(session: Session, salt: str) -> str:
    message = f"csrf:{session.id}:{salt}".encode("latin-1", "replace")
    return hmac.new(session.csrf_secret.encode(), message, hashlib.sha256).hexdigest()
