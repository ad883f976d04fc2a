"""Errors as classes that carry the values which explain them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import ClassVar

from grpc import StatusCode

__all__ = [
    "BrokenRule",
    "ConcurrentModification",
    "DomainError",
    "InvalidField",
    "InvalidRequest",
    "NotFound",
    "NotPermitted",
    "OutcomeUnknown",
    "StatusCode",
    "Unauthenticated",
    "Unavailable",
]


@dataclass(eq=False)
class DomainError(Exception):
    """An answer that is no success and that the caller can do something about.

    Subclasses are dataclasses: their fields are the values that `detail` mentions and that the
    caller receives.
    `reason` is the class name in UPPER_SNAKE_CASE and is part of the contract.
    """

    status: ClassVar[StatusCode] = StatusCode.FAILED_PRECONDITION
    detail: ClassVar[str]
    reason: ClassVar[str]
    retry_after_seconds: ClassVar[float | None] = None

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls.reason = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).upper()

    def __str__(self) -> str:
        return self.detail.format(**self.values())

    def values(self) -> dict[str, str]:
        """The fields by name, as strings."""
        return {item.name: str(getattr(self, item.name)) for item in fields(self)}


@dataclass(eq=False)
class BrokenRule(DomainError):
    """A rule of the business forbids it: 409."""


@dataclass(eq=False)
class NotFound(DomainError):
    """There is no such thing, or it is another tenant's: 404."""

    status = StatusCode.NOT_FOUND
    detail = "There is no {kind} {id}."

    kind: str
    id: object


@dataclass(eq=False)
class InvalidField:
    """A field, as a JSON pointer such as "/lines/0/quantity", and the rule it breaks."""

    pointer: str
    rule: str


@dataclass(eq=False)
class InvalidRequest(DomainError):
    """The request itself is wrong, whatever the data: 400."""

    status = StatusCode.INVALID_ARGUMENT
    detail = "{summary}"

    violations: Sequence[InvalidField] = field(default_factory=tuple)

    @classmethod
    def of(cls, pointer: str, rule: str) -> "InvalidRequest":
        """The error for a single field."""
        return cls([InvalidField(pointer, rule)])

    def values(self) -> dict[str, str]:
        """The violations in one sentence."""
        return {
            "summary": "; ".join(
                f"{item.pointer or 'The request'} {item.rule}" for item in self.violations
            )
        }


@dataclass(eq=False)
class ConcurrentModification(DomainError):
    """Somebody else changed it first: 409, and nothing was done."""

    status = StatusCode.ABORTED
    detail = "This {kind} was changed by somebody else. Read it again and repeat your change."

    kind: str
    id: object


@dataclass(eq=False)
class Unauthenticated(DomainError):
    """Nobody known is calling: 401."""

    status = StatusCode.UNAUTHENTICATED
    detail = "{why}"

    why: str


@dataclass(eq=False)
class NotPermitted(DomainError):
    """The caller is known and may not do it: 403."""

    status = StatusCode.PERMISSION_DENIED
    detail = "This needs the permission {permission}."

    permission: str


@dataclass(eq=False)
class Unavailable(DomainError):
    """Something that is needed is away for the moment; nothing was done: 503."""

    status = StatusCode.UNAVAILABLE
    detail = "{what} is away for the moment. Try again."
    retry_after_seconds = 1.0

    what: str


@dataclass(eq=False)
class OutcomeUnknown(DomainError):
    """The connection broke during the commit: it may or may not have happened: 503."""

    status = StatusCode.UNAVAILABLE
    detail = "The answer to the commit was lost. Look whether it happened before you repeat it."
    retry_after_seconds = 1.0
