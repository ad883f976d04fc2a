"""What is still to be done to a service's schema, and whether it may be done now."""

import io
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import Any

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import Script, ScriptDirectory

from ops.migration_lint import Finding, findings
from ops.revisions import applied_to, folder_of


@dataclass(frozen=True)
class Pending:
    """A revision that a database lacks."""

    service: str
    revision: str
    title: str
    # Why it may take something away, when it says so.
    contract: str | None
    findings: tuple[Finding, ...]

    @property
    def is_refused(self) -> bool:
        """Whether it is unsafe and does not say that it is the second step of two."""
        return bool(self.findings) and self.contract is None


def pending(service: str, url: str) -> list[Pending]:
    """The revisions that the database at `url` lacks, in their order, each one checked.

    A database without any is new: nobody works on it, so nothing is unsafe.
    """
    applied = applied_to(url)
    scripts = ScriptDirectory(str(folder_of(service)))
    done = {script.revision for one in applied for script in scripts.iterate_revisions(one, "base")}
    lacking = [one for one in scripts.walk_revisions() if one.revision not in done]
    return [_checked(service, one, is_new=not applied) for one in reversed(lacking)]


def statements_of(script: Script) -> str:
    """The SQL of a revision, without running it."""
    written = io.StringIO()
    options: dict[str, Any] = {"as_sql": True, "output_buffer": written}
    context = MigrationContext.configure(dialect_name="postgresql", opts=options)
    with Operations.context(context), redirect_stdout(io.StringIO()):
        script.module.upgrade()
    return written.getvalue()


def _checked(service: str, script: Script, *, is_new: bool) -> Pending:
    found = () if is_new else tuple(findings(statements_of(script)))
    contract = getattr(script.module, "contract", None)
    return Pending(service, script.revision, script.doc.rstrip("."), contract, found)
