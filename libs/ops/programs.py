"""PostgreSQL's own programs, run to their end."""

import re
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from ops.errors import StackFailure
from ops.postgres import ENVIRONMENT, postgres_binary
from ops.processes import Account, ProcessSpec

_PERCENT = re.compile(r"\((\d+)%\)")


def run_program(
    name: str,
    *arguments: str,
    url: str | None = None,
    account: Account | None = None,
    on_percent: Callable[[int], None] = lambda _: None,
) -> str:
    """Run a program of PostgreSQL's and return what it wrote.

    Args:
        name: such as "pg_basebackup".
        arguments: its own.
        url: the server to connect to; its password goes into the environment, where no `ps` looks.
        account: who it runs as, when not us.
        on_percent: told how far it is, when it says.

    Raises:
        StackFailure: it failed; carries what it wrote.
    """
    process = _started(name, arguments, url, account)
    said = _read(process, on_percent)
    if process.returncode:
        last = said[-1].strip() if said else f"exit code {process.returncode}"
        raise StackFailure(f"{name} failed: {last}", "".join(said[:-1]).strip())
    return "".join(said)


def _started(
    name: str, arguments: Sequence[str], url: str | None, account: Account | None
) -> "subprocess.Popen[str]":
    spec = ProcessSpec(
        name=name,
        argv=(str(postgres_binary(name)), *arguments),
        environment=ENVIRONMENT,
        log=Path("/dev/null"),
        account=account,
    )
    return subprocess.Popen(
        spec.launch_argv,
        env={**ENVIRONMENT, **(libpq_variables(url) if url else {})},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )


def _read(process: "subprocess.Popen[str]", on_percent: Callable[[int], None]) -> list[str]:
    """The lines that a program writes until it ends, but those of its progress."""
    said = []
    with process:
        assert process.stdout is not None
        # Universal newlines: a line of progress ends with a carriage return.
        for line in process.stdout:
            if percent := _PERCENT.search(line):
                on_percent(int(percent[1]))
            else:
                said.append(line)
    return said


def libpq_variables(url: str) -> dict[str, str]:
    """A connection URL as the environment of libpq's programs."""
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "password": "PGPASSWORD"}
    names |= {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "dbname": "PGDATABASE"}
    names |= {"target_session_attrs": "PGTARGETSESSIONATTRS"}
    parts = conninfo_to_dict(url)
    return {variable: str(parts[name]) for name, variable in names.items() if name in parts}
