"""Requests that name themselves have effect once, and get their first answer again when repeated.

The answer is kept in the transaction of the effect, so there is never one without the other. The
idea and the header are those of draft-ietf-httpapi-idempotency-key-header.
"""

import hashlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, TypeVar

from google.protobuf.message import Message

from common import caller, kept_answers
from common.errors import DomainError, StatusCode
from common.kept_answers import Kept, Name
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


class AnsweredBefore(Exception):
    """Not an error: the request was carried out before, and this was its answer."""

    def __init__(self, answer: Message) -> None:
        super().__init__()
        self.answer = answer


@dataclass(eq=False)
class KeyedRequest:
    """A request under a name of its caller's.

    Args:
        name: whose, to which rpc, under which key.
        request_hash: what it asks for.
        response: the message that answers it; an outcome that is none is a step on the way.
    """

    name: Name
    request_hash: bytes
    response: type[Message]
    # Whether the answer was kept by the transaction that had the effect.
    kept: bool = field(default=False, compare=False)

    @classmethod
    def of(cls, method: str, key: str, request: Message, response: type[Message]) -> "KeyedRequest":
        """What the caller at hand asks of an rpc."""
        wire = request.SerializeToString(deterministic=True)
        name = Name(caller.current().subject, method, key)
        return cls(name, hashlib.sha256(wire).digest(), response)

    def part(self, place: int, response: type[Message]) -> "KeyedRequest":
        """One of many commands in the request, which takes effect by itself."""
        key = f"{self.name.key}/{place}"
        return KeyedRequest(self.name._replace(key=key), self.request_hash, response)

    def verdict(self, kept: Kept) -> Exception | None:
        """Why not to carry it out, None when it is new and now ours to carry out."""
        if kept.response is not None and kept.request_hash == self.request_hash:
            return AnsweredBefore(self.response.FromString(kept.response))
        if kept.response is not None:
            return IdempotencyKeyReused(self.name.key)
        return None if kept.claimed else IdempotencyKeyInProgress(self.name.key)

    def answer_in(self, outcome: Any) -> bytes | None:
        """The answer to keep, None when the outcome is not the answer yet."""
        message = outcome.to_wire() if hasattr(outcome, "to_wire") else outcome
        return message.SerializeToString() if isinstance(message, self.response) else None


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
    kept = await kept_answers.claim(tx, [request.name for request in requests])
    judged = zip(requests, map(KeyedRequest.verdict, requests, kept), strict=True)
    return {request: verdict for request, verdict in judged if verdict}


async def _keep(tx: Transaction, outcomes: Sequence[tuple[KeyedRequest | None, Any]]) -> None:
    answers = []
    for request, outcome in outcomes:
        if request and (answer := request.answer_in(outcome)) is not None:
            answers.append((request.name, request.request_hash, answer))
            request.kept = True
    if answers:
        await kept_answers.keep(tx, answers)
