"""The page of errors: every reason that a refusal can have."""

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from common.errors import DomainError
from gateway.problems import http_status_of

ROOT = Path(__file__).parents[2]
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
    for folder in ("libs/common", "services"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts[1:]
            if _defines_errors(path) and not {"tests", "migrations"} & set(parts):
                import_module(".".join(part for part in parts if part != "__init__"))
    waiting = [DomainError]
    while waiting:
        waiting.extend(found := waiting.pop().__subclasses__())
        yield from (one for one in found if hasattr(one, "detail") and "test" not in one.__module__)


def _defines_errors(path: Path) -> bool:
    text = path.read_text()
    return "(DomainError)" in text or "(BrokenRule)" in text
