"""Sessions of people: a row in Postgres decides, a copy in Redis answers.

A token is shown once; only its SHA-256 is stored, and what it stands for is encrypted in both
places. docs/primitives/sessions.md says what holds while one of the two is away.
"""

import asyncio
import base64
import hashlib
import re
import secrets
import time
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import structlog
from prometheus_client import Counter
from redis.asyncio import Redis
from sqlalchemy import Row

from common import caller, ids, patience, rehearsal
from common.database import Database, Transaction
from common.errors import NotFound, Unauthenticated
from common.flights import Flights
from common.keys import tenant_key
from common.redis_link import AWAY, RedisLink
from common.sealing import Seal
from common.session_records import Session, read_session, write_session
from common.session_rows import find_session, insert_session, list_sessions, revoke_sessions

__all__ = ["Ending", "NewSession", "Session", "Sessions"]

# How long a copy is believed without a look at its row, and how late the row may know of a use.
RECHECK_SECONDS = 60.0
# By how much the clocks of our processes may differ.
SKEW_SECONDS = 5.0
# Longer than a copy that was read from the row before the revocation could still be written.
_GRAVE_MS = 600_000
_RETRY_SECONDS = 0.05
SPARED_SECONDS = 0.5
_SECRET_BYTES = 32
_TOKEN = re.compile(r"[A-Za-z0-9_-]{64}")
_PREFIX = "kv_erp_session"
_REVOKED = b"revoked"

# KEYS: copy  ARGV: what a revoked one is, the copy, its life in ms
_REFILL = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return 0
end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""

_CHECKS = Counter("kv_erp_session_checks_total", "Sessions checked.", ["outcome"])
_BY_COPY, _BY_ROW, _REFUSED = (_CHECKS.labels(one) for one in ("copy", "row", "refused"))

log = structlog.get_logger()


class NewSession(NamedTuple):
    """A session and the only showing of its token."""

    token: str
    session: Session


class _Named(NamedTuple):
    """What a token names: nobody knows yet whether it exists."""

    tenant_id: UUID
    hash: bytes

    @property
    def key(self) -> str:
        return tenant_key(_PREFIX, self.tenant_id, self.hash.hex())

    def purpose(self, place: bytes) -> bytes:
        """What is sealed for one session opens for no other, nor in the other place."""
        return place + self.tenant_id.bytes + self.hash


class _Copy(NamedTuple):
    session: Session
    # Wall clock of the look at the row.
    checked: float


class Ending:
    """Sessions whose end a transaction decides."""

    def __init__(self) -> None:
        # Of their copies.
        self.keys: list[str] = []
        # Those whose sessions were all to end.
        self.user_ids: set[UUID] = set()

    async def end(
        self,
        tx: Transaction,
        *,
        session_id: UUID | None = None,
        user_ids: Sequence[UUID] | None = None,
        but: UUID | None = None,
    ) -> int:
        """End one session, or all of some users, or one if it is theirs; how many there were.

        Args:
            tx: the transaction to join.
            session_id: this one only.
            user_ids: those of these users only.
            but: not this one.
        """
        hashes = await revoke_sessions(tx, session_id=session_id, user_ids=user_ids, but=but)
        self.keys += [_Named(tx.tenant_id, one).key for one in hashes]
        if session_id is None and but is None:
            self.user_ids.update(user_ids or ())
        return len(hashes)


class Sessions:
    """Makes, checks and ends sessions.

    Args:
        database: has the table of session_rows.
        redis: a client that gives up soon (Role.SESSIONS).
        seal: encrypts.
        service: in whose name rows are looked at before anybody is known to call.
        idle_seconds: how long a session lives without use.
        longest_seconds: how long it lives at most.
    """

    def __init__(
        self,
        database: Database,
        redis: Redis,
        seal: Seal,
        service: str,
        *,
        idle_seconds: float = 7200,
        longest_seconds: float = 86400,
    ) -> None:
        self.link = RedisLink(redis, f"{_PREFIX}:link")
        self._database = database
        self._redis = redis
        self._seal = seal
        self._service = service
        self._idle_ms = round(idle_seconds * 1000)
        self._written_every = timedelta(seconds=RECHECK_SECONDS / 2)
        # The row knows of a use only so late; a session that was used in time must not end.
        self._idle = timedelta(seconds=idle_seconds + RECHECK_SECONDS)
        self._longest = timedelta(seconds=longest_seconds)
        self._refill_script = redis.register_script(_REFILL)
        self._flights: Flights[_Copy | None] = Flights()
        # Until then Redis is not asked: it was too slow just now.
        self._spared_until = 0.0
        # Keys of revoked sessions whose copies Redis may still have.
        self._undead: set[str] = set()
        self._has_undead = asyncio.Event()

    async def run(self) -> None:
        """Watch the link to Redis, and bury the copies it has not taken away, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.link.run())
            tasks.create_task(self._keep_burying())

    async def create(
        self, user_id: UUID, permissions: Collection[str], about: str = ""
    ) -> NewSession:
        """Begin a session of a user of the caller's tenant."""
        async with self._database.tenant_transaction() as tx:
            new = await self.begin(tx, user_id, permissions, about)
        created_at = new.session.created_at.timestamp()
        await self._refill(_named(new.token), _Copy(new.session, created_at))
        return new

    async def begin(
        self, tx: Transaction, user_id: UUID, permissions: Collection[str], about: str = ""
    ) -> NewSession:
        """Begin a session with the transaction of what permits it; its first check looks at it."""
        # Its token leaves in a cookie, which no rollback takes back.
        rehearsal.demand_real()
        token = _token(tx.tenant_id)
        named, now = _named(token), datetime.now(UTC)
        session = Session(
            id=ids.new(),
            tenant_id=tx.tenant_id,
            user_id=user_id,
            permissions=frozenset(permissions),
            csrf_secret=secrets.token_urlsafe(_SECRET_BYTES),
            about=about,
            created_at=now,
            ends_at=now + self._longest,
        )
        row = {
            "id": session.id,
            "hash": named.hash,
            "user_id": user_id,
            "sealed": self._seal.close(write_session(session), named.purpose(b"row")),
            "ends_at": session.ends_at,
        }
        await insert_session(tx, row)
        return NewSession(token, session)

    async def check(self, token: str) -> Session:
        """The session that a token stands for, which lives on from now.

        One round trip to Redis; a look at the row once a minute, or when Redis cannot tell.

        Raises:
            Unauthenticated: there is none, or it has ended.
            Unavailable: Redis cannot tell and Postgres is away.
        """
        named = _named(token)
        if named.key in self._undead:
            raise _refused()
        copy = await self._find_copy(named)
        if copy is not None and self._is_fresh(copy):
            _BY_COPY.inc()
        else:
            copy = await self._flights.join(named.key, partial(self._look_at_row, named))
            _BY_ROW.inc()
        if copy is None or copy.session.ends_at <= datetime.now(UTC):
            raise _refused()
        return copy.session

    async def revoke(self, session_id: UUID) -> None:
        """End a session of the caller's tenant, everywhere.

        Raises:
            NotFound: there is none, or it was ended before.
        """
        if not await self._revoke(session_id=session_id):
            raise NotFound("session", session_id)

    async def revoke_all(self, user_id: UUID) -> int:
        """End all sessions of a user of the caller's tenant; how many there were."""
        return await self._revoke(user_ids=[user_id])

    @asynccontextmanager
    async def ending(self) -> AsyncIterator["Ending"]:
        """End sessions in transactions inside this; they are dead everywhere when it is left."""
        ending = Ending()
        try:
            yield ending
        finally:
            # After an error too: a commit whose outcome is unknown may have happened.
            keys = [] if rehearsal.current() else list(dict.fromkeys(ending.keys))
            if keys and not await self._bury(keys):
                self._undead.update(keys)
                self._has_undead.set()

    async def list(self, user_id: UUID) -> list[Session]:
        """The sessions of a user of the caller's tenant that are alive, oldest first."""
        async with self._database.tenant_transaction() as tx:
            rows = await list_sessions(tx, user_id, self._idle)
            named = [_Named(tx.tenant_id, row.hash) for row in rows]
        found = (self._open_row(*pair) for pair in zip(named, rows, strict=True))
        return [session for session in found if session]

    async def _find_copy(self, named: _Named) -> _Copy | None:
        if not self._may_ask():
            return None
        try:
            sealed: Any = await self._redis.getex(named.key, px=self._idle_ms)
        except AWAY:
            self._spared_until = time.monotonic() + SPARED_SECONDS
            patience.lose()
            return None
        if sealed == _REVOKED:
            raise _refused()
        text = self._seal.open(sealed, named.purpose(b"copy")) if sealed else None
        if text is None:
            if sealed:
                log.error("session copy cannot be opened", key=named.key)
            return None
        fields = orjson.loads(text)
        return _Copy(read_session(fields), fields["checked"])

    def _may_ask(self) -> bool:
        """Whether Redis is there, and has not been too slow just now."""
        return self.link.stands and time.monotonic() >= self._spared_until

    def _is_fresh(self, copy: _Copy) -> bool:
        """Whether nobody can have revoked the session since without the copy's knowing."""
        # A revocation may have missed the copy while Redis was away.
        missed_until = self.link.stands_since + SKEW_SECONDS
        return copy.checked > max(time.time() - RECHECK_SECONDS, missed_until)

    async def _look_at_row(self, named: _Named) -> _Copy | None:
        checked = time.time()
        # Row security confines the search to the tenant that the token claims, and only a token
        # that was made for it has a hash there.
        with caller.acting_as(caller.service_caller(self._service, named.tenant_id)):
            async with self._database.tenant_transaction() as tx:
                row = await find_session(tx, named.hash, self._idle, self._written_every)
        session = self._open_row(named, row) if row else None
        if session is None:
            return None
        copy = _Copy(session, checked)
        return copy if await self._refill(named, copy) else None

    def _open_row(self, named: _Named, row: Row[Any]) -> Session | None:
        text = self._seal.open(row.sealed, named.purpose(b"row"))
        if text is None:
            log.error("session row cannot be opened", id=str(row.id))
            return None
        # The columns are the operator's to change, and what is sealed says the rest.
        return replace(read_session(orjson.loads(text)), ends_at=row.ends_at)

    async def _refill(self, named: _Named, copy: _Copy) -> bool:
        """Write the copy; False when the session was revoked since its row was read."""
        if not self._may_ask():
            return True
        left_ms = round((copy.session.ends_at.timestamp() - time.time()) * 1000)
        text = write_session(copy.session, checked=copy.checked)
        sealed = self._seal.close(text, named.purpose(b"copy"))
        arguments: list[Any] = [_REVOKED, sealed, max(1, min(self._idle_ms, left_ms))]
        try:
            return bool(await self._refill_script([named.key], arguments))
        except AWAY:
            return True

    async def _revoke(self, **which: Any) -> int:
        async with self.ending() as ending, self._database.tenant_transaction() as tx:
            return await ending.end(tx, **which)

    async def _bury(self, keys: Sequence[str]) -> bool:
        try:
            async with self._redis.pipeline(transaction=False) as pipe:
                for key in keys:
                    pipe.set(key, _REVOKED, px=_GRAVE_MS)
                await pipe.execute()
        except AWAY:
            return False
        return True

    async def _keep_burying(self) -> None:
        while True:
            await self._has_undead.wait()
            keys = list(self._undead)
            if await self._bury(keys):
                self._undead.difference_update(keys)
                if not self._undead:
                    self._has_undead.clear()
            else:
                await asyncio.sleep(_RETRY_SECONDS)


def _token(tenant_id: UUID) -> str:
    """The tenant, which is no secret and useless when it is wrong, and 256 random bits."""
    return base64.urlsafe_b64encode(tenant_id.bytes + secrets.token_bytes(_SECRET_BYTES)).decode()


def _named(token: str) -> _Named:
    if not _TOKEN.fullmatch(token):
        raise _refused()
    tenant_id = UUID(bytes=base64.urlsafe_b64decode(token)[:16])
    return _Named(tenant_id, hashlib.sha256(token.encode()).digest())


def _refused() -> Unauthenticated:
    _REFUSED.inc()
    return Unauthenticated("There is no such session, or it has ended.")
