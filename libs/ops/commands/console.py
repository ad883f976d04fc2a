"""What all commands share: where output goes, how a failure is told, which stack is meant."""

import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from ops.credentials import Credentials
from ops.dev_directory import DevDirectory
from ops.environment import Wiring
from ops.errors import StackFailure
from ops.files import read_json
from ops.urls import with_database

_PIPED_WIDTH = 1000
out = Console()
err = Console(stderr=True)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def web_address(url: str | None) -> str | None:
    """An option's value that must be an address of HTTP."""
    if url is not None and not url.startswith(("http://", "https://")):
        raise typer.BadParameter(f"{url!r} must begin with http:// or https://")
    return url


def postgres_address(url: str | None) -> str | None:
    """An option's value that must be a PostgreSQL server's."""
    if url is not None and not url.startswith(("postgresql://", "postgres://")):
        raise typer.BadParameter(f"{url!r} must be like postgresql://user:password@host/postgres")
    return url


OperatorUrl = Annotated[
    str | None,
    typer.Option(
        "--url",
        envvar="KV_ERP_OPERATOR_URL",
        callback=postgres_address,
        help="The server's superuser; the running local stack's if absent.",
    ),
]


@contextmanager
def failures_as_sentences() -> Iterator[None]:
    """End the command with exit code 1 and one sentence when a StackFailure reaches it."""
    try:
        yield
    except StackFailure as failure:
        if failure.log_tail:
            print(failure.log_tail, file=sys.stderr)
        err.out(f"error: {failure.sentence}", style="red", highlight=False)
        raise typer.Exit(1) from None


def dev_directory() -> Path:
    """KV_ERP_DEV_DIR, else .dev in the project that the working directory belongs to."""
    if named := os.environ.get("KV_ERP_DEV_DIR"):
        return Path(named)
    here = Path.cwd()
    project = next((place for place in (here, *here.parents) if _is_project(place)), here)
    return project / ".dev"


def running_state() -> dict[str, Any]:
    """The state file of the running stack; a StackFailure if none is running."""
    directory = DevDirectory(dev_directory())
    state = read_json(directory.state)
    if state is None:
        raise StackFailure(f"No stack is running in {directory.path}; `make run` starts one.")
    return dict(state)


def running_wiring(inherited: Mapping[str, str]) -> Wiring:
    """What connects the running stack's processes, for one more that ends by itself."""
    state, directory = running_state(), DevDirectory(dev_directory())
    return Wiring(
        inherited=inherited,
        superuser_url=state["databases"]["gateway"],
        redis_url=state["redis"],
        ports=read_json(directory.ports),
        credentials=Credentials(directory.secrets),
    )


def operator_url(given: str | None) -> str:
    """`given`, or the superuser's URL of the running stack."""
    return given or with_database(running_state()["databases"]["gateway"], "postgres")


def print_json(content: Any) -> None:
    """JSON on stdout, whatever the terminal's width."""
    out.out(json.dumps(content, indent=2, default=str), highlight=False)


def print_rows(title: str, rows: Sequence[Mapping[str, Any]], *, empty: str) -> None:
    """Rows as a table with the keys of the first as headings; `empty` when there is none."""
    if not rows:
        out.print(empty)
        return
    table = Table(title=title, title_justify="left")
    for name in rows[0]:
        table.add_column(name.replace("_", " "), overflow="fold")
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row.values()))
    # What reads a pipe has no edge at which a row would have to be folded.
    (out if out.is_terminal else Console(width=_PIPED_WIDTH)).print(table)


def confirm(question: str, *, yes: bool) -> None:
    """Ask, unless `yes`; a StackFailure when the answer is no or nobody is there to answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise StackFailure(f"{question} Say --yes to do it without a terminal.")
    if not typer.confirm(question):
        raise StackFailure("Nothing was done.")


def _is_project(place: Path) -> bool:
    return (place / "pyproject.toml").exists() and (place / "services").is_dir()
