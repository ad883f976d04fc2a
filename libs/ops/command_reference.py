"""The page about `kv-erp`, made from its commands themselves."""

from collections.abc import Iterator
from typing import Any

import typer

from ops.main import app

_HEAD = """# Command line

`kv-erp` runs, tries and operates the system. Written from the commands by `make docs`.

Exit codes: 0 done; 1 not done, or something was found, and one sentence on standard error says
what; 2 wrong use; 78 settings by which no process would start; 130 interrupted. `--json` prints
JSON on standard output. Progress goes to standard error, and is a bar only on a terminal. What
destroys or goes back asks first; `--yes` is for scripts.

Without other options a command means the running local stack: `KV_ERP_DEV_DIR`, else `.dev` of the
project."""


def command_line_page() -> str:
    """Every command with its arguments, options and what they mean."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    yield _HEAD
    root: Any = typer.main.get_command(app)
    context = root.make_context("kv-erp", [], resilient_parsing=True)
    for path, command in _commands(root, ()):
        yield from ("", f"## kv-erp {' '.join(path)}", "", _text(command.help))
        shown = [one.get_help_record(context) for one in command.params if one.name != "help"]
        rows = [f"| `{name}` | {_text(meaning)} |" for name, meaning in filter(None, shown)]
        if rows:
            yield from ("", "| | |", "|---|---|", *rows)


def _commands(group: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name in sorted(group.commands):
        command = group.commands[name]
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _text(text: str | None) -> str:
    return "\n".join(line.strip() for line in (text or "").strip().splitlines()).replace("|", "\\|")
