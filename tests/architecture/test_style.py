"""The house rules that a machine can check."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from common.errors import DomainError

ROOT = Path(__file__).parents[2]
SERVICES = ("inventory", "accounting", "sales", "gateway")
GENERATED = {ROOT / "libs" / "erp", ROOT / "libs" / "buf"}
LONGEST_FILE = 400
LONGEST_FUNCTION = 40
# The wire is these modules' business; all others of a service are domain.
WIRED = {"app", "servicer", "audit", "__main__", "errors"}


def sources() -> Iterator[Path]:
    for root in ("libs", "services", "benchmarks", "tests"):
        for path in (ROOT / root).rglob("*.py"):
            if not GENERATED & set(path.parents) and ".venv" not in path.parts:
                yield path


ALL = sorted(sources())
PRODUCT = [
    path
    for path in ALL
    if "tests" not in path.parts and path.parts[len(ROOT.parts)] in ("libs", "services")
]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def imports_of(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_no_file_is_two_nouns(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE


@pytest.mark.parametrize("path", ALL, ids=name_of)
def test_no_function_is_too_long_to_see(path: Path) -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = [
        node.name
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, functions) and node.end_lineno - node.lineno >= LONGEST_FUNCTION
    ]

    assert long == []


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_every_module_says_what_it_owns(path: Path) -> None:
    if path.read_text().strip():
        assert ast.get_docstring(ast.parse(path.read_text()))


@pytest.mark.parametrize("service", SERVICES)
def test_no_service_imports_another(service: str) -> None:
    others = set(SERVICES) - {service}

    wrong = [
        (name_of(path), module)
        for path in PRODUCT
        if path.is_relative_to(ROOT / "services" / service)
        for module in imports_of(ast.parse(path.read_text()))
        if module.split(".")[0] in others
    ]

    assert wrong == []


@pytest.mark.parametrize("service", SERVICES[:3])
def test_the_domain_knows_nothing_of_grpc(service: str) -> None:
    wrong = [
        name_of(path)
        for path in (ROOT / "services" / service).glob("*.py")
        if path.stem not in WIRED
        for module in imports_of(ast.parse(path.read_text()))
        if module == "grpc" or module.startswith("grpc.") or module.endswith("_grpc")
    ]

    assert wrong == []


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_only_the_database_module_commits(path: Path) -> None:
    allowed = path == ROOT / "libs" / "common" / "database.py" or "ops" in path.parts
    commits = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("commit", "rollback")
    ]

    assert allowed or not commits or path.stem == "migrations"


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_only_settings_read_the_environment(path: Path) -> None:
    if path.name == "process.py" or {"settings", "ops"} & set(path.parts):
        return
    assert not re.search(r"\bos\.(environ|getenv)\b", path.read_text())


def inside_transactions(tree: ast.AST) -> Iterator[ast.Call]:
    for node in ast.walk(tree):
        if isinstance(node, ast.AsyncWith) and any(
            "_transaction" in ast.dump(item) for item in node.items
        ):
            for inner in node.body:
                yield from (found for found in ast.walk(inner) if isinstance(found, ast.Call))


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_nothing_remote_is_called_inside_a_transaction(path: Path) -> None:
    remote = re.compile(r"stub|channel|resolve_|remote|redis|publish_batch", re.IGNORECASE)

    calls = [ast.unparse(call.func) for call in inside_transactions(ast.parse(path.read_text()))]

    assert [call for call in calls if remote.search(call)] == []


def errors() -> Iterator[type[DomainError]]:
    for path in PRODUCT:
        if path.stem in ("errors", "database", "deadline", "status"):
            import_module(".".join(path.relative_to(ROOT).with_suffix("").parts[1:]))
    waiting = [DomainError]
    while waiting:
        waiting.extend(found := waiting.pop().__subclasses__())
        yield from found


def test_every_error_has_a_reason_of_its_own() -> None:
    found = {error for error in errors() if "test" not in error.__module__}
    by_service = Counter((error.__module__.split(".")[0], error.reason) for error in found)

    assert len(found) > 10
    assert [key for key, count in by_service.items() if count > 1] == []


LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)#\s]+)[^)]*\)")


@pytest.mark.parametrize(
    "path",
    [
        path
        for path in ROOT.rglob("*.md")
        if not {".venv", ".dev", ".pytest_cache"} & set(path.parts)
    ],
    ids=name_of,
)
def test_no_link_is_dead(path: Path) -> None:
    targets = [link for link in LINK.findall(path.read_text()) if "://" not in link]

    assert [target for target in targets if not (path.parent / target).exists()] == []
