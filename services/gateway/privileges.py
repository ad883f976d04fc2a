"""Changes of what users may do: whose sessions they end, and how one's own goes on."""

from collections.abc import Awaitable, Callable
from typing import TypeVar
from uuid import UUID

from common import caller, trailers
from common.database import Database, Transaction
from common.sessions import Ending, Sessions
from gateway.accounts import held_by, lock_account
from gateway.cookies import session_cookie
from gateway.login_limits import Visit

__all__ = ["Privileges"]

Result = TypeVar("Result")


class Privileges:
    """Runs changes in transactions, with the sessions that they end.

    Args:
        database: the gateway's.
        sessions: those of the users.
    """

    def __init__(self, database: Database, sessions: Sessions) -> None:
        self._database = database
        self._sessions = sessions

    async def change(
        self, work: Callable[[Transaction, Ending], Awaitable[Result]], visit: Visit
    ) -> Result:
        """Run a change; when it ends the caller's own session, another takes its place.

        Args:
            work: the change; it says which sessions end.
            visit: where the caller is.
        """
        async with self._sessions.ending() as ending:

            async def whole(tx: Transaction) -> Result:
                result = await work(tx, ending)
                if (user_id := _logged_in()) in ending.user_ids and user_id is not None:
                    await self._renew(tx, user_id, visit)
                return result

            return await self._database.run(whole)

    async def _renew(self, tx: Transaction, user_id: UUID, visit: Visit) -> None:
        if await lock_account(tx, user_id) is None:
            return
        permissions = await held_by(tx, user_id, lock=True)
        new = await self._sessions.begin(tx, user_id, permissions, visit.about)
        trailers.add(trailers.SET_SESSION, session_cookie(new.token))


def _logged_in() -> UUID | None:
    who = caller.current()
    return UUID(who.subject.removeprefix("user:")) if who.session_id else None
