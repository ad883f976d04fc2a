"""Wire in, wire out: logging in and out."""

from typing import Any

from common import ids, trailers
from common.caller import current
from common.sessions import Session
from common.wire import timestamp
from erp.gateway.v1 import session_pb2 as pb
from erp.gateway.v1 import session_service_pb2 as api
from erp.gateway.v1 import session_service_pb2_grpc as rpc
from gateway.cookies import device_cookie, no_session, session_cookie
from gateway.forgery import csrf_token
from gateway.logins import Logins, Present
from gateway.visits import visit_of

__all__ = ["SessionServicer"]


class SessionServicer(rpc.SessionServiceServicer):
    """Sessions. Every rule lives in logins.py."""

    def __init__(self, logins: Logins) -> None:
        self._logins = logins

    async def Login(self, request: api.LoginRequest, context: Any) -> pb.CurrentSession:
        """Begin a session."""
        visit = visit_of(context)
        present = await self._logins.log_in(request.tenant, request.email, request.password, visit)
        trailers.add(trailers.SET_DEVICE, device_cookie(present.device))
        return _begun(present)

    async def Logout(self, request: api.LogoutRequest, context: Any) -> api.LogoutResponse:
        """End the session at hand."""
        await self._logins.log_out()
        trailers.add(trailers.SET_SESSION, no_session())
        return api.LogoutResponse()

    async def GetSession(self, request: api.GetSessionRequest, context: Any) -> pb.CurrentSession:
        """Tell who is logged in."""
        return _present(await self._logins.present())

    async def ListSessions(
        self, request: api.ListSessionsRequest, context: Any
    ) -> api.ListSessionsResponse:
        """List the caller's sessions."""
        sessions = await self._logins.list_own()
        return api.ListSessionsResponse(sessions=map(_session, sessions))

    async def RevokeSession(
        self, request: api.RevokeSessionRequest, context: Any
    ) -> api.RevokeSessionResponse:
        """End one of the caller's sessions."""
        await self._logins.revoke(ids.parse(request.id, "id"))
        return api.RevokeSessionResponse()

    async def RevokeOtherSessions(
        self, request: api.RevokeOtherSessionsRequest, context: Any
    ) -> api.RevokeOtherSessionsResponse:
        """End all of the caller's sessions but the one at hand."""
        return api.RevokeOtherSessionsResponse(revoked=await self._logins.revoke_others())

    async def ChangePassword(
        self, request: api.ChangePasswordRequest, context: Any
    ) -> pb.CurrentSession:
        """Give the caller another password."""
        visit = visit_of(context)
        current_password, new_password = request.current_password, request.new_password
        return _begun(await self._logins.change_password(current_password, new_password, visit))

    async def SetPassword(
        self, request: api.SetPasswordRequest, context: Any
    ) -> api.SetPasswordResponse:
        """Give an invited user a password."""
        await self._logins.set_password(request.setup_token, request.password, visit_of(context))
        return api.SetPasswordResponse()


def _begun(present: Present) -> pb.CurrentSession:
    trailers.add(trailers.SET_SESSION, session_cookie(present.token))
    return _present(present, begun=True)


def _present(present: Present, *, begun: bool = False) -> pb.CurrentSession:
    session, person = present.session, present.person
    shown = _session(session)
    shown.current = shown.current or begun
    return pb.CurrentSession(
        csrf_token=csrf_token(session),
        session=shown,
        user=pb.SessionUser(id=str(session.user_id), email=person.email, name=person.name),
        tenant=pb.SessionTenant(
            id=str(session.tenant_id), slug=person.slug, name=person.tenant_name
        ),
        permissions=sorted(session.permissions),
    )


def _session(session: Session) -> pb.Session:
    return pb.Session(
        id=str(session.id),
        about=session.about,
        create_time=timestamp(session.created_at),
        expire_time=timestamp(session.ends_at),
        current=str(session.id) == current().session_id,
    )
