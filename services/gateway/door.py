"""Who stands at the door: software with an API token, or a person with a session's cookie."""

from collections.abc import Awaitable, Callable
from typing import Protocol
from uuid import UUID

from common.caller import Caller
from common.errors import Unauthenticated
from common.sessions import Session
from gateway.cookies import SESSION, find_cookie
from gateway.credentials import Client
from gateway.http_request import HttpRequest

__all__ = ["STRANGER", "Credentials", "Door"]

# Whoever brings no credential to what is open to anybody.
STRANGER = Client(Caller(None, "anonymous"), "")


class Credentials(Protocol):
    """Knows who is calling."""

    async def client_of(self, request: HttpRequest) -> Client:
        """The client that a request names.

        Raises:
            Unauthenticated: it names nobody.
            TenantSuspended: it names somebody of a company that is suspended.
        """


class Tokens(Protocol):
    """Knows API tokens."""

    async def client_of(self, authorization: bytes | None) -> Client:
        """The client that a header names."""


class Door:
    """Lets in by the Authorization header if there is one, else by the session's cookie.

    A header decides alone, even a wrong one: no browser adds it unasked, so with it a cookie that
    comes along means nothing, and without it none makes up for it.

    Args:
        tokens: knows API tokens.
        check_session: knows sessions by their token.
        plan_of: the plan of a company, which must not be suspended.
    """

    def __init__(
        self,
        tokens: Tokens,
        check_session: Callable[[str], Awaitable[Session]],
        plan_of: Callable[[UUID], Awaitable[str]],
    ) -> None:
        self._tokens = tokens
        self._check_session = check_session
        self._plan_of = plan_of

    async def client_of(self, request: HttpRequest) -> Client:
        """The client that a request names.

        Raises:
            Unauthenticated: it names nobody.
            TenantSuspended: it names somebody of a company that is suspended.
            Unavailable: what knows is away.
        """
        if request.authorization is not None:
            return await self._tokens.client_of(request.authorization)
        token = find_cookie(request, SESSION)
        if token is None:
            raise Unauthenticated("Send an API token as Authorization: Bearer kv_…, or log in.")
        session = await self._check_session(token)
        plan = await self._plan_of(session.tenant_id)
        subject, session_id = f"user:{session.user_id}", str(session.id)
        caller = Caller(session.tenant_id, subject, session.permissions, session_id=session_id)
        return Client(caller, plan, session)
