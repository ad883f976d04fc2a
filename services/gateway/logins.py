"""Logging in and out, and what users do about their own sessions and passwords."""

import asyncio
from dataclasses import dataclass
from uuid import UUID

import structlog
from sqlalchemy import func, update

from common import audit_log, caller
from common.caller import acting_as, service_caller
from common.database import Database, Transaction
from common.errors import DomainError, NotFound, Unauthenticated
from common.sessions import NewSession, Session, Sessions
from gateway import tables
from gateway.accounts import Account, Person, find_account, find_person, held_by, lock_account
from gateway.errors import NoSession, WrongPassword
from gateway.login_limits import LoginLimits, Visit
from gateway.passwords import Passwords
from gateway.setup_tokens import SetupToken, open_account

__all__ = ["Logins", "Present"]

_users = tables.users
log = structlog.get_logger()


@dataclass(frozen=True)
class Present:
    """Who is logged in."""

    session: Session
    person: Person
    # Only when the session has just begun: what its cookie holds, and the browser's.
    token: str = ""
    device: str = ""


class Logins:
    """Lets users in and out.

    Args:
        database: the gateway's.
        sessions: those of the users.
        passwords: checks them.
        limits: how often somebody may guess.
    """

    def __init__(
        self, database: Database, sessions: Sessions, passwords: Passwords, limits: LoginLimits
    ) -> None:
        self._database = database
        self._sessions = sessions
        self._passwords = passwords
        self._limits = limits
        self._noting: set[asyncio.Task[None]] = set()

    async def log_in(self, slug: str, email: str, password: str, visit: Visit) -> Present:
        """Begin a session, in place of the one that the browser had.

        Raises:
            Unauthenticated: nobody may log in by this; why is not told.
            RateLimited, Unavailable: there were too many guesses, or they cannot be counted.
        """
        slug, email = slug.strip().lower(), email.strip().lower()
        name = f"{slug}\x00{email}"
        taken = await self._limits.take(name, visit)
        account = await find_account(self._database, slug, email)
        stored = account.password_hash if account else None
        if not await self._passwords.fits(stored, password) or account is None:
            self._note_refusal(account)
            raise _wrong()
        await self._limits.give_back(taken)
        await self._leave(visit.session)
        request_id = caller.current().request_id
        with acting_as(service_caller("gateway", account.tenant_id, request_id)):
            await self._renew_hash(account, password)
            new, person = await self._begin(account.user_id, visit)
        return Present(new.session, person, new.token, self._limits.device_of(name))

    async def log_out(self) -> None:
        """End the session at hand."""
        await self._end("logged out", _user_id(), session_id=_session_id())

    async def present(self) -> Present:
        """The session at hand, and whom it stands for."""
        session_id, user_id = _session_id(), _user_id()
        alive = await self._sessions.list(user_id)
        session = next((one for one in alive if one.id == session_id), None)
        async with self._database.tenant_transaction() as tx:
            person = await find_person(tx, user_id)
        if session is None or person is None:
            raise Unauthenticated("There is no such session, or it has ended.")
        return Present(session, person)

    async def list_own(self) -> list[Session]:
        """The caller's sessions that are alive, oldest first."""
        return await self._sessions.list(_user_id())

    async def revoke(self, session_id: UUID) -> None:
        """End one of the caller's sessions.

        Raises:
            NotFound: the caller has no such session.
        """
        user_id = _user_id()
        which = {"session_id": session_id, "user_ids": [user_id]}
        if not await self._end("sessions ended", user_id, **which):
            raise NotFound("session", session_id)

    async def revoke_others(self) -> int:
        """End all of the caller's sessions but the one at hand; how many there were."""
        user_id = _user_id()
        return await self._end("sessions ended", user_id, user_ids=[user_id], but=_session_id())

    async def change_password(self, current: str, new: str, visit: Visit) -> Present:
        """Give the caller another password and, in place of all their sessions, a new one.

        Raises:
            WrongPassword: the current password is another.
            RateLimited, Unavailable: as for logging in.
        """
        user_id = _user_id()
        _session_id()
        taken = await self._limits.take(f"user:{user_id}", visit)
        async with self._database.tenant_transaction() as tx:
            stored = await lock_account(tx, user_id)
        if not await self._passwords.fits(stored, current):
            raise WrongPassword
        await self._limits.give_back(taken)
        hashed = await self._passwords.hash(new)
        async with self._sessions.ending() as ending, self._database.tenant_transaction() as tx:
            await _store(tx, user_id, hashed, stored)
            await ending.end(tx, user_ids=[user_id])
            begun, person = await self._begin_in(tx, user_id, visit)
        return Present(begun.session, person, begun.token)

    async def set_password(self, setup_token: str, password: str, visit: Visit) -> None:
        """Give a user the password of their choice, by the token they were given for that.

        Raises:
            SetupTokenInvalid: it is not valid, or no longer.
            RateLimited, Unavailable: there were too many guesses, or they cannot be counted.
        """
        taken = await self._limits.take_from(visit)
        token = SetupToken.read(setup_token)
        hashed = await self._passwords.hash(password)
        request_id = caller.current().request_id
        with acting_as(service_caller("gateway", token.tenant_id, request_id)):
            async with self._sessions.ending() as ending, self._database.tenant_transaction() as tx:
                user_id = await open_account(tx, token, hashed)
                await ending.end(tx, user_ids=[user_id])
        await self._limits.give_back(taken)

    async def _begin(self, user_id: UUID, visit: Visit) -> tuple[NewSession, Person]:
        async with self._database.tenant_transaction() as tx:
            return await self._begin_in(tx, user_id, visit)

    async def _begin_in(
        self, tx: Transaction, user_id: UUID, visit: Visit
    ) -> tuple[NewSession, Person]:
        # Locked, so that no session of theirs begins after they or their rights have gone.
        locked, person = await lock_account(tx, user_id), await find_person(tx, user_id)
        if locked is None or person is None:
            raise _wrong()
        permissions = await held_by(tx, user_id, lock=True)
        await audit_log.record(tx, "user", user_id, "logged in", {})
        return await self._sessions.begin(tx, user_id, permissions, visit.about), person

    def _note_refusal(self, account: Account | None) -> None:
        """Have it written down, unless nobody of that name is known.

        It is not waited for: how long a refusal takes must not tell who is known here.
        """
        if account is not None:
            task = asyncio.create_task(self._write_refusal(account))
            self._noting.add(task)
            task.add_done_callback(self._noting.discard)

    async def _write_refusal(self, account: Account) -> None:
        request_id = caller.current().request_id
        try:
            with acting_as(service_caller("gateway", account.tenant_id, request_id)):
                async with self._database.tenant_transaction() as tx:
                    await audit_log.record(tx, "user", account.user_id, "login refused", {})
        except DomainError as error:
            log.warning("refused login not written down", error=str(error))

    async def _renew_hash(self, account: Account, password: str) -> None:
        """Hash again, while the password is at hand, what was hashed by other parameters."""
        if not self._passwords.is_outdated(account.password_hash):
            return
        hashed = await self._passwords.hash(password)
        async with self._database.tenant_transaction() as tx:
            await _store(tx, account.user_id, hashed, account.password_hash)

    async def _leave(self, token: str) -> None:
        """End the session that a token stands for, if it stands for one."""
        if not token:
            return
        try:
            old = await self._sessions.check(token)
        except Unauthenticated:
            return
        request_id = caller.current().request_id
        with acting_as(service_caller("gateway", old.tenant_id, request_id)):
            await self._end("logged out", old.user_id, session_id=old.id)

    async def _end(self, action: str, user_id: UUID, **which: object) -> int:
        async with self._sessions.ending() as ending, self._database.tenant_transaction() as tx:
            ended = await ending.end(tx, **which)  # type: ignore[arg-type]
            if ended:
                said = {"sessions": ended}
                await audit_log.record(tx, "user", user_id, action, said)
            return ended


async def _store(tx: Transaction, user_id: UUID, hashed: str, instead_of: str | None) -> None:
    """Store a hash, unless the password was changed meanwhile."""
    change = update(_users).where(_users.c.id == user_id, _users.c.password_hash == instead_of)
    values = {"password_hash": hashed, "updated_at": func.now()}
    await tx.execute(change.values(values))


def _wrong() -> Unauthenticated:
    return Unauthenticated("Company, mail address or password are not right.")


def _user_id() -> UUID:
    kind, _, name = caller.current().subject.partition(":")
    if kind != "user":
        raise NoSession
    return UUID(name)


def _session_id() -> UUID:
    session_id = caller.current().session_id
    if not session_id:
        raise NoSession
    return UUID(session_id)
