"""Recognises calls that come again: what the interceptor does with an idempotency key."""

import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import structlog
from google.protobuf.message import Message
from prometheus_client import Counter

from common import caller, idempotency, kept_answers, trailers
from common.database import Database, Transaction
from common.errors import BrokenRule, InvalidRequest
from common.group_commit import GroupCommit
from common.idempotency import AnsweredBefore, IdempotencyKeyInProgress, KeyedRequest
from common.kept_answers import Kept, Name
from common.rpc_policy import Idempotency, PolicyError, RpcPolicy
from common.sealing import Seal
from common.secret_fields import has_secrets

IDEMPOTENCY_KEY = "idempotency-key"
# The call is to be answered only if it was carried out before.
REPEATS_ONLY = "repeats-only"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_REPEATED = Counter("kv_erp_repeated_calls_total", "Calls answered with a kept answer.", ["method"])

log = structlog.get_logger()


@dataclass(eq=False)
class NotAnsweredBefore(BrokenRule):
    """A call that may only be answered as it was before has not come before."""

    detail = "Under this idempotency key nothing was done yet."


CarryOut = Callable[[], Awaitable[Message]]


async def refuse_first() -> Message:
    """Carry out what may only be repeated.

    Raises:
        NotAnsweredBefore: always.
    """
    raise NotAnsweredBefore


class Repetitions:
    """Carries out each keyed request once in this service, whichever of its processes gets it.

    Args:
        database: where answers are kept.
        seal: seals answers that hold a secret (`debug_redact`), and what would tell of a request's.
    """

    def __init__(self, database: Database, seal: Seal | None = None) -> None:
        self._database = database
        self._seal = seal
        # Before anything is looked up elsewhere for the request: what it names may have changed
        # since it was carried out.
        self._recalling = GroupCommit[Name, Kept](database, kept_answers.recall, read_only=True)
        self._running: set[Name] = set()

    def demand_seal(self, policies: Iterable[RpcPolicy]) -> None:
        """Refuse to serve commands with secrets that nothing would seal.

        Raises:
            PolicyError: there is such a command.
        """
        for policy in policies:
            secret = any(has_secrets(one.DESCRIPTOR) for one in (policy.request, policy.response))
            reads = policy.idempotency is Idempotency.NO_SIDE_EFFECTS
            if secret and not reads and self._seal is None:
                raise PolicyError(f"{policy.path} has secrets, and its process nothing to seal by.")

    async def answer(
        self, policy: RpcPolicy, request: Message, key: str | None, carry_out: CarryOut
    ) -> Message:
        """The answer to a call: the kept one if it came before, else what carrying it out gives.

        Args:
            policy: the rpc's; what only reads is carried out each time.
            request: what is asked.
            key: under which name; None for a call that will not be repeated.
            carry_out: does it.

        Raises:
            IdempotencyKeyInProgress: it is being carried out; by which process does not matter.
            IdempotencyKeyReused: the key came with another request before.
            InvalidRequest: the key is not 1 to 255 visible ASCII characters.
        """
        reads = policy.idempotency is Idempotency.NO_SIDE_EFFECTS
        if key is None or reads or caller.current().tenant_id is None:
            return await carry_out()
        if not _KEY.fullmatch(key):
            raise InvalidRequest.of(
                f"/{IDEMPOTENCY_KEY}", "must be 1 to 255 visible ASCII characters"
            )
        return await self._once(
            KeyedRequest.of(policy.path, key, request, policy.response, self._seal), carry_out
        )

    async def _once(self, request: KeyedRequest, carry_out: CarryOut) -> Message:
        if request.name in self._running:
            raise IdempotencyKeyInProgress(request.name.key)
        self._running.add(request.name)
        try:
            return await self._run(request, carry_out)
        except AnsweredBefore as before:
            _REPEATED.labels(request.name.method).inc()
            trailers.add(trailers.IDEMPOTENT_REPLAYED, "true")
            # Ends after the transaction that had the effect, so its token covers that.
            async with self._database.tenant_transaction():
                return before.answer
        finally:
            self._running.discard(request.name)

    async def _run(self, request: KeyedRequest, carry_out: CarryOut) -> Message:
        kept = await self._recalling.run(request.name)
        if (verdict := request.verdict(kept._replace(claimed=True))) is not None:
            raise verdict
        with idempotency.carrying_out(request):
            answer = await carry_out()
            if not request.kept:
                await self._keep(request, answer)
        return answer

    async def _keep(self, request: KeyedRequest, answer: Message) -> None:
        """Keep an answer that no single transaction made: each of its parts took effect once."""

        async def done(_: Transaction) -> Message:
            return answer

        log.debug("answer kept afterwards", method=request.name.method)
        await self._database.run(done)
