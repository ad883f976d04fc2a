"""One company's day as requests and answers: the examples that the API's documentation shows.

`story.json` says what is asked; `answers.json` holds what was answered when the story was last
played (`make docs`), with invented ids and times. A test plays it again.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import resources
from typing import Any

__all__ = ["Example", "Step", "examples", "filled", "found", "story"]

_REFERENCE = re.compile(r"\$(\w+(?:\.\w+)+)")
_INVENTED = {
    "admin": {"email": "admin@acme.example", "password": "correct horse staple", "tenant": "acme"}
}


@dataclass(frozen=True)
class Step:
    """One request of the story; texts like `$order.id` stand for what was answered before.

    Attributes:
        name: what later steps call its answer.
        operation: the rpc.
        wait: seconds of `Prefer: wait`.
        until: values that its answer must have, by their paths; it is asked again until it does.
        hidden: it only makes something for a later step.
        by_operator: it is the platform's operator who asks.
        by_session: it is whoever logged in last, by their cookie.
    """

    name: str
    operation: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    wait: int = 0
    until: Mapping[str, Any] = field(default_factory=dict)
    hidden: bool = False
    by_operator: bool = False
    by_session: bool = False


@dataclass(frozen=True)
class Example:
    """What the documentation shows of an operation."""

    path: Mapping[str, str]
    query: Mapping[str, str]
    body: Any
    answer: Any


@cache
def story() -> tuple[Step, ...]:
    """All steps in order."""
    return tuple(Step(**step) for step in json.loads(_read("story.json")))


@cache
def examples() -> dict[str, Example]:
    """The example of each operation that has one."""
    answers = json.loads(_read("answers.json"))
    known = _INVENTED | answers
    return {
        step.operation: Example(
            filled(step.path, known),
            filled(step.query, known),
            filled(step.body, known),
            answers[step.name],
        )
        for step in story()
        if not step.hidden and step.name in answers
    }


def filled(value: Any, known: Mapping[str, Any], run: str = "", digits: str = "20") -> Any:
    """A value of the story with its references replaced.

    Args:
        value: texts, and lists and objects of them.
        known: the answers so far, by the names of their steps.
        run: makes names unique, where a story is played more than once.
        digits: the same, where only digits are allowed.
    """
    if isinstance(value, str):
        if reference := _REFERENCE.fullmatch(value):
            return found(known, reference[1])
        return value.replace("{run}", run).replace("{digits}", digits)
    if isinstance(value, Mapping):
        return {name: filled(item, known, run, digits) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, known, run, digits) for item in value]
    return value


def found(known: Any, path: str) -> Any:
    """What a path such as "orders.0.id" names in an answer."""
    for step in path.split("."):
        known = known[int(step)] if step.isdecimal() else known[step]
    return known


def _read(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text("utf-8")
