"""Finds in a migration what would break the running version, or stop its work for long.

During a rollout the old version of a service runs on the new schema. So a schema is changed in two
steps: a release that *expands* (adds what the new code needs), then, once no old process is left,
one that *contracts* (takes away what only old code needed). A revision that contracts says so:

    contract = "orders.note is read by nobody since 1.4"

and is applied by `kv-erp migrate --contract` only.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_NAME = r'"?(?P<table>[a-z_][a-z0-9_]*)"?'
_ALTER = re.compile(
    rf"^ALTER TABLE (?:IF EXISTS )?(?:ONLY )?{_NAME} (?P<actions>.+)$", re.IGNORECASE | re.DOTALL
)
_CREATE = re.compile(rf"^CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?{_NAME}", re.IGNORECASE)
_DROP = re.compile(rf"^DROP TABLE (?:IF EXISTS )?{_NAME}", re.IGNORECASE)
_INDEX = re.compile(
    rf"^CREATE (?:UNIQUE )?INDEX (?!CONCURRENTLY).*? ON (?:ONLY )?{_NAME}",
    re.IGNORECASE | re.DOTALL,
)
_TOKENS = re.compile(r"\$(\w*)\$.*?\$\1\$|'(?:[^']|'')*'|--[^\n]*|[;,()]|[^;,()'$-]+|.", re.DOTALL)

_BREAKS = {
    "drops a column": r"^DROP (COLUMN )?(?!CONSTRAINT|NOT NULL|DEFAULT)",
    "renames what old code still calls by its name": r"^RENAME ",
    "changes a column's type, which old code may not know and which rewrites the table": (
        r"^ALTER (COLUMN )?\S+ (SET DATA )?TYPE "
    ),
    "adds a column without default that old code leaves empty": (
        r"^ADD (COLUMN )?(?!CONSTRAINT|PRIMARY|UNIQUE|FOREIGN|CHECK|EXCLUDE)"
        r"(?=.*\bNOT NULL\b)(?!.*\b(DEFAULT|GENERATED)\b)"
    ),
    "forbids NULL where old code may write it": r"^ALTER (COLUMN )?\S+ SET NOT NULL",
}
_LOCKS = {
    "checks every row under a lock: add it NOT VALID, and validate it in a later revision": (
        r"^ADD (CONSTRAINT \S+ )?(CHECK|FOREIGN KEY)\b(?!.*\bNOT VALID\b)"
    ),
    "builds an index under a lock: make it CONCURRENTLY before, and add it USING INDEX": (
        r"^ADD (CONSTRAINT \S+ )?(PRIMARY KEY|UNIQUE|EXCLUDE)\b(?!.*\bUSING INDEX\b)"
    ),
}


@dataclass(frozen=True)
class Finding:
    """A statement that must not run while the old version does its work."""

    table: str
    problem: str
    statement: str

    def __str__(self) -> str:
        return f"{self.table}: {self.problem} ({self.statement})"


def findings(sql: str) -> list[Finding]:
    """What is unsafe in a migration's SQL; tables that it makes itself are its own business."""
    statements = [" ".join(statement.split()) for statement in split(sql, ";")]
    new = {found["table"] for one in statements if (found := _CREATE.match(one))}
    return [
        finding
        for statement in statements
        for finding in _of_statement(statement)
        if finding.table not in new
    ]


def split(sql: str, separator: str) -> Iterator[str]:
    """The parts of SQL between separators that stand in no string, comment, body or parenthesis."""
    part, depth = "", 0
    for word in (found[0] for found in _TOKENS.finditer(sql)):
        depth += (word == "(") - (word == ")")
        if word == separator and depth == 0:
            yield part.strip()
            part = ""
        elif not word.startswith("--"):
            part += word
    if part.strip():
        yield part.strip()


def _of_statement(statement: str) -> Iterator[Finding]:
    short = statement[:80]
    if found := _DROP.match(statement):
        yield Finding(found["table"], "drops a table", short)
    elif found := _INDEX.match(statement):
        problem = "builds an index while nobody can write: make it by make_indexes"
        yield Finding(found["table"], problem, short)
    elif found := _ALTER.match(statement):
        for action in split(found["actions"], ","):
            for problem, pattern in (_BREAKS | _LOCKS).items():
                if re.match(pattern, action, re.IGNORECASE):
                    yield Finding(found["table"], problem, action[:80])
