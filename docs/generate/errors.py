"""The page of errors: every reason that a refusal can have."""

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from common.errors import DomainError
from gateway.problems import http_status_of

ROOT = Path(__file__).parents[2]
# The name of a class, and what it stands on.
_CLASS = re.compile(r"^class (\w+)\((\w+)\):", re.MULTILINE)
_WHERE = {"common": "Every service", "gateway": "Gateway"}


def errors_page() -> str:
    """What `reason` can be, by who says it."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield "# Errors"
    yield ""
    yield "A refusal is `application/problem+json` (RFC 9457). `reason` is for programs and never"
    yield "changes its meaning; `detail` is for people; the values that `detail` mentions stand"
    yield "beside them under the names shown in braces. Over gRPC the same is a `google.rpc.Status`"
    yield "with the reason in its ErrorInfo."
    by_owner: dict[str, list[type[DomainError]]] = {}
    for error in _errors():
        by_owner.setdefault(error.__module__.split(".")[0], []).append(error)
    for owner in sorted(by_owner, key=lambda name: (name != "common", name)):
        yield ""
        yield f"## {_WHERE.get(owner, owner.capitalize())}"
        yield ""
        yield "| reason | HTTP | gRPC | detail |"
        yield "|---|---|---|---|"
        for error in sorted(by_owner[owner], key=lambda one: one.reason):
            yield _row(error)


def _row(error: type[DomainError]) -> str:
    # What decides about the status is said by the class.
    status = int(http_status_of(error.__new__(error)))
    detail = error.detail.replace("|", "\\|").replace("{summary}", "What is wrong with each field.")
    return f"| `{error.reason}` | {status} | {error.status.name} | {detail} |"


def _errors() -> Iterator[type[DomainError]]:
    """Every error that can be raised: those that say what they mean."""
    modules = {import_module(name) for name in _modules_with_errors()}
    for module in modules:
        for item in vars(module).values():
            if _is_error(item) and item.__module__ == module.__name__:
                yield item


def _is_error(item: object) -> bool:
    return isinstance(item, type) and issubclass(item, DomainError) and hasattr(item, "detail")


def _modules_with_errors() -> Iterator[str]:
    """The modules in which a class stands on an error, or on what stands on one."""
    sources = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts[1:]): path.read_text()
        for folder in ("libs/common", "services")
        for path in (ROOT / folder).rglob("*.py")
        if not {"tests", "migrations"} & set(path.parts)
    }
    classes = [(name, *found) for name, text in sources.items() for found in _CLASS.findall(text)]
    errors = {"DomainError"}
    while more := {own for _, own, base in classes if base in errors} - errors:
        errors |= more
    yield from {module.removesuffix(".__init__") for module, _, base in classes if base in errors}
