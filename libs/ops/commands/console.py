"""What all commands share: where output goes, how a failure is told, which stack is meant."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console

from ops.dev_directory import DevDirectory
from ops.errors import StackFailure
from ops.files import read_json

out = Console()
err = Console(stderr=True)


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


def _is_project(place: Path) -> bool:
    return (place / "pyproject.toml").exists() and (place / "services").is_dir()
