"""What clients that waited were answered, so that their repetitions are answered the same."""

import asyncio
from typing import Any, cast

import structlog
from google.protobuf.message import Message

from common import caller, idempotency, kept_answers
from common.database import Database, Transaction
from common.errors import DomainError
from common.group_commit import GroupCommit
from common.idempotency import AnsweredBefore, IdempotencyKeyInProgress, KeyedRequest
from common.kept_answers import Kept, Name
from common.rpc_policy import RpcPolicy
from common.secret_fields import has_secrets

__all__ = ["SettledAnswers"]

# For twins that want to keep theirs at the same moment.
_PAUSES_SECONDS = (0.01, 0.05, 0.25)

log = structlog.get_logger()


class SettledAnswers:
    """Kept by the gateway under the keys of their requests, for as long as services keep theirs.

    A service keeps what a command itself was answered, which is not yet what became of it. Answers
    with secrets, and those of the platform's operators, are not kept: they are read anew each time.

    Args:
        database: the gateway's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recalling = GroupCommit[Name, Kept](database, kept_answers.recall, read_only=True)

    async def find(self, policy: RpcPolicy, key: str | None, message: Message) -> Any:
        """What a client that waited for this request was answered; None if none was."""
        request = _keyed(policy, key, message)
        if request is None:
            return None
        try:
            kept = await self._recalling.run(request.name)
        except DomainError as error:
            log.warning("settled answer not found", error=str(error))
            return None
        return request.response.FromString(kept.response) if kept.response else None

    async def keep(self, policy: RpcPolicy, key: str | None, message: Message, answer: Any) -> Any:
        """Keep this answer, unless one is kept already: that is the answer then."""
        request = _keyed(policy, key, message)
        if request is None:
            return answer

        for pause in _PAUSES_SECONDS:
            try:
                return await self._keep(request, answer)
            except AnsweredBefore as before:
                return before.answer
            except IdempotencyKeyInProgress:
                await asyncio.sleep(pause)
            except DomainError as error:
                log.warning("settled answer not kept", error=str(error))
                break
        # The command has been carried out: whatever goes wrong now, its answer stands.
        return answer

    async def _keep(self, request: KeyedRequest, answer: Any) -> Any:
        async def done(_: Transaction) -> Message:
            return cast("Message", answer)

        with idempotency.carrying_out(request):
            return await self._database.run(done)


def _keyed(policy: RpcPolicy, key: str | None, message: Message) -> KeyedRequest | None:
    if not key or caller.current().tenant_id is None or has_secrets(policy.response.DESCRIPTOR):
        return None
    return KeyedRequest.of(f"{policy.path}#settled", key, message, policy.response)
