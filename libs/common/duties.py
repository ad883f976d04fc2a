"""Recurring work of a service, done by whichever worker comes first."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Duty:
    """Something a service does again and again, by whichever worker comes first."""

    name: str
    every_seconds: float
    work: Callable[[], Awaitable[object]]
