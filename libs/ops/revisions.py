"""Whether a service's schema is the newest, found out without Alembic, which is slow to import."""

import re
from importlib.util import find_spec
from pathlib import Path

import psycopg

from ops.errors import StackFailure

_ASSIGNED = re.compile(r"^(revision|down_revision)\b[^=]*=(.*)$", re.MULTILINE)
_NAMED = re.compile(r"""["']([^"']+)["']""")
_VERSIONS = "SELECT version_num FROM alembic_version"


def folder_of(service: str) -> Path:
    """Where the migrations of a service lie, if it has any."""
    spec = find_spec(service)
    if spec is None or spec.origin is None:
        raise StackFailure(f"The service {service} is not installed here.")
    return Path(spec.origin).parent / "migrations"


def newest_of(folder: Path) -> set[str]:
    """The revisions that no other one follows: one, unless somebody has still to join them."""
    named: dict[str, set[str]] = {"revision": set(), "down_revision": set()}
    for file in folder.glob("versions/*.py"):
        for name, value in _ASSIGNED.findall(file.read_text()):
            named[name].update(_NAMED.findall(value))
    return named["revision"] - named["down_revision"]


def applied_to(url: str) -> set[str]:
    """The revisions that a database is at: none when it is new."""
    try:
        with psycopg.connect(url, connect_timeout=5) as database:
            return {str(version) for (version,) in database.execute(_VERSIONS).fetchall()}
    except psycopg.errors.UndefinedTable:
        return set()
    except psycopg.Error as error:
        raise StackFailure(f"The database failed: {' '.join(str(error).split())}") from error


def is_newest(service: str, url: str) -> bool:
    """Whether there is nothing left to migrate."""
    newest = newest_of(folder_of(service))
    return bool(newest) and newest == applied_to(url)
