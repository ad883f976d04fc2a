"""Which function does which job, and how often and how long it may try."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

from google.protobuf.message import Message

from common.jobs.enqueueing import name_of
from common.jobs.tables import QUEUES
from common.jobs.work import Work

__all__ = ["Handler", "Handling", "handles", "handlings_of", "queues_of"]

M = TypeVar("M", bound=Message)
Handler = Callable[[Work[Any]], Awaitable[None]]


@dataclass(frozen=True)
class Handling:
    """What a handler asked for; None leaves it to the worker's command line."""

    message: type[Message]
    queue: str
    tries: int | None
    timeout_seconds: float | None
    backoff_seconds: float
    handler: Handler

    @property
    def name(self) -> str:
        """Full name of the job's message."""
        return name_of(self.message)


def handles(
    message: type[M],
    *,
    queue: str = "default",
    tries: int | None = None,
    timeout: float | None = None,
    backoff: float = 10,
) -> Callable[[Callable[[Work[M]], Awaitable[None]]], Handler]:
    """Mark a function `(work: Work[message])` as the one that does these jobs.

    It may run more than once, and for a moment twice at the same time: what it does in
    `work.transaction()` or `work.completion()` is done by one attempt only.

    Args:
        message: what describes the job.
        queue: "high", "default" or "low", unless `enqueue` names another.
        tries: failures before the job is parked in failed_jobs; else the worker's `--tries`.
        timeout: seconds for one attempt; else the worker's `--timeout`.
        backoff: seconds before the second try, roughly; doubles with each further one.
    """
    if queue not in QUEUES:
        raise ValueError(f"{queue!r} is not one of the queues {', '.join(QUEUES)}")

    def mark(handler: Callable[[Work[M]], Awaitable[None]]) -> Handler:
        handler.__handling__ = Handling(message, queue, tries, timeout, backoff, handler)  # type: ignore[attr-defined]
        return handler

    return mark


def handlings_of(modules: Iterable[ModuleType | SimpleNamespace]) -> dict[str, Handling]:
    """The handlers of these modules by the full name of what they handle.

    Raises:
        ValueError: two of them handle the same.
    """
    handlings: dict[str, Handling] = {}
    for module in modules:
        for item in vars(module).values():
            handling = getattr(item, "__handling__", None)
            if not isinstance(handling, Handling):
                continue
            if handlings.setdefault(handling.name, handling).handler is not handling.handler:
                raise ValueError(f"two functions handle {handling.name}")
    return handlings


def queues_of(handlings: Mapping[str, Handling]) -> dict[str, str]:
    """The queue of each of them by the full name of what it handles."""
    return {name: handling.queue for name, handling in handlings.items()}
