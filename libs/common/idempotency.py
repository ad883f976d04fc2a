"""Requests that name themselves have effect once, and get their first answer again when repeated.

The answer is kept in the transaction of the effect, so there is never one without the other. The
idea and the header are those of draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from common import caller, kept_answers
from common.errors import DomainError, StatusCode
from common.kept_answers import Kept, Name
from common.sealing import Seal
from common.secret_fields import has_secrets
from common.transaction import Transaction

Command = TypeVar("Command")
Result = TypeVar("Result")


@dataclass(eq=False)
class IdempotencyKeyReused(DomainError):
    """The key came before, with another request: 422, and nothing was done."""

    status = StatusCode.INVALID_ARGUMENT
    detail = "The idempotency key {key} has been used for another request."

    key: str


@dataclass(eq=False)
class IdempotencyKeyInProgress(DomainError):
    """The same request is being carried out at this moment: 409, worth repeating."""

    status = StatusCode.ABORTED
    detail = (
        "The request with the idempotency key {key} is still running. Ask again for its answer."
    )
    retry_after_seconds = 1.0

    key: str


@dataclass(eq=False)
class IdempotentAnswerUnreadable(DomainError):
    """The request was carried out, and its answer, which holds a secret, cannot be read again."""

    detail = (
        "The request with the idempotency key {key} was carried out. Its answer holds a secret "
        "that can no longer be shown."
    )

    key: str


class AnsweredBefore(Exception):
    """Not an error: the request was carried out before, and this was its answer."""

    def __init__(self, answer: Message) -> None:
        super().__init__()
        self.answer = answer


class Unsealable(Exception):
    """What was kept was sealed by a key that is no longer there."""


@dataclass(eq=False)
class KeyedRequest:
    """A request under a name of its caller's.

    Args:
        name: whose, to which rpc, under which key.
        request_hash: what it asks for.
        response: the message that answers it; an outcome that is none is a step on the way.
        tenant_id: whose caller asks; an operator's request has its effect in another tenant.
        seal: seals what is kept of secrets.
        secret_request: whether the request holds one, so that a hash of it could be guessed from.
    """

    name: Name
    request_hash: bytes
    response: type[Message]
    tenant_id: UUID | None
    seal: Seal | None = field(default=None, compare=False)
    secret_request: bool = field(default=False, compare=False)
    # Whether the answer was kept by the transaction that had the effect.
    kept: bool = field(default=False, compare=False)

    @classmethod
    def of(
        cls,
        method: str,
        key: str,
        request: Message,
        response: type[Message],
        seal: Seal | None = None,
    ) -> "KeyedRequest":
        """What the caller at hand asks of an rpc."""
        wire = request.SerializeToString(deterministic=True)
        who = caller.current()
        name = Name(who.subject, method, key)
        secret = has_secrets(request.DESCRIPTOR)
        return cls(name, hashlib.sha256(wire).digest(), response, who.tenant_id, seal, secret)

    def part(self, place: int, response: type[Message]) -> "KeyedRequest":
        """One of many commands in the request, which takes effect by itself."""
        name = self.name._replace(key=f"{self.name.key}/{place}")
        return replace(self, name=name, response=response, kept=False)

    def verdict(self, kept: Kept) -> Exception | None:
        """Why not to carry it out, None when it is new and now ours to carry out."""
        if kept.response is None:
            return None if kept.claimed else IdempotencyKeyInProgress(self.name.key)
        try:
            if self._open(kept.request_hash or b"", b"request", self.secret_request) != (
                self.request_hash
            ):
                return IdempotencyKeyReused(self.name.key)
            answer = self._open(kept.response, b"answer", has_secrets(self.response.DESCRIPTOR))
        except Unsealable:
            return IdempotentAnswerUnreadable(self.name.key)
        return AnsweredBefore(self.response.FromString(answer))

    def answer_in(self, outcome: Any) -> bytes | None:
        """The answer to keep, None when the outcome is not the answer yet."""
        message = outcome.to_wire() if hasattr(outcome, "to_wire") else outcome
        if not isinstance(message, self.response):
            return None
        wire = message.SerializeToString()
        return self._close(wire, b"answer", has_secrets(self.response.DESCRIPTOR))

    def hash_to_keep(self) -> bytes:
        """What is kept of the request."""
        return self._close(self.request_hash, b"request", self.secret_request)

    def _close(self, content: bytes, what: bytes, secret: bool) -> bytes:
        if not secret:
            return content
        assert self.seal is not None, f"{self.name.method} has secrets, and nothing seals them"
        return self.seal.close(content, self._purpose(what))

    def _open(self, kept: bytes, what: bytes, secret: bool) -> bytes:
        if not secret:
            return kept
        content = self.seal.open(kept, self._purpose(what)) if self.seal else None
        if content is None:
            raise Unsealable
        return content

    def _purpose(self, what: bytes) -> bytes:
        return b"\x1f".join((b"kept", what, *(part.encode() for part in self.name)))


_current: ContextVar[KeyedRequest | None] = ContextVar("keyed request", default=None)


def current() -> KeyedRequest | None:
    """The request at hand, if it named itself."""
    return _current.get()


@contextmanager
def carrying_out(request: KeyedRequest | None) -> Iterator[None]:
    """Do what is inside for this request."""
    token = _current.set(request)
    try:
        yield
    finally:
        _current.reset(token)


@contextmanager
def carrying_out_part(place: int, response: type[Message]) -> Iterator[None]:
    """Do what is inside for one of many commands in the request at hand.

    It takes effect by itself, and is answered with this message when it comes again.
    """
    request = _current.get()
    with carrying_out(request and request.part(place, response)):
        yield


async def once(tx: Transaction, work: Callable[[Transaction], Awaitable[Result]]) -> Result:
    """Do the work of the request at hand, unless it was done before.

    Raises:
        AnsweredBefore: it was.
        IdempotencyKeyReused, IdempotencyKeyInProgress: nothing was done.
    """

    async def decide(tx: Transaction, _: Sequence[None]) -> Sequence[Result]:
        return [await work(tx)]

    (outcome,) = await each_once(tx, [None], [current()], decide)
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


async def each_once(
    tx: Transaction,
    commands: Sequence[Command],
    requests: Sequence[KeyedRequest | None],
    decide: Callable[[Transaction, Sequence[Command]], Awaitable[Sequence[Result]]],
) -> list[Result | Exception]:
    """Decide those commands whose requests have no answer yet, and keep what they are answered.

    Args:
        tx: the transaction of the effects.
        commands: what to decide.
        requests: the request of each, None for one without a key.
        decide: decides several, in order.
    """
    verdicts = await _verdicts(tx, [request for request in requests if request])
    fresh = [place for place, request in enumerate(requests) if request not in verdicts]
    decided = await decide(tx, [commands[place] for place in fresh]) if fresh else []
    outcomes: dict[int, Any] = dict(zip(fresh, decided, strict=True))
    await _keep(tx, [(requests[place], outcome) for place, outcome in outcomes.items()])
    return [
        outcomes[place] if place in outcomes else verdicts[request]
        for place, request in enumerate(requests)
    ]


async def _verdicts(
    tx: Transaction, requests: Sequence[KeyedRequest]
) -> dict[KeyedRequest | None, Exception]:
    if not requests:
        return {}
    async with kept_answers.of_tenant(tx, requests[0].tenant_id):
        kept = await kept_answers.claim(tx, [request.name for request in requests])
    judged = zip(requests, map(KeyedRequest.verdict, requests, kept), strict=True)
    return {request: verdict for request, verdict in judged if verdict}


async def _keep(tx: Transaction, outcomes: Sequence[tuple[KeyedRequest | None, Any]]) -> None:
    answers = [
        (request, answer)
        for request, outcome in outcomes
        if request and (answer := request.answer_in(outcome)) is not None
    ]
    if not answers:
        return
    async with kept_answers.of_tenant(tx, answers[0][0].tenant_id):
        await kept_answers.keep(
            tx, [(request.name, request.hash_to_keep(), answer) for request, answer in answers]
        )
    for request, _ in answers:
        request.kept = True
