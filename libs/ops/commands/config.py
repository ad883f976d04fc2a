"""`kv-erp config`: what the services would make of the environment."""

from dataclasses import fields
from typing import Any

import typer

from common.settings import Secret, Settings, SettingsError, load_settings, variables
from ops.commands.console import AsJson, err, print_json, print_rows

EXIT_MISCONFIGURED = 78

app = typer.Typer(no_args_is_help=True, help="What the services would make of the environment.")


@app.callback()
def group() -> None:
    """Keep `check` a command of its own: typer folds a single one into its group."""


@app.command("check")
def check(as_json: AsJson = False) -> None:
    """Validate the environment as every process does at its start; secrets are not shown.

    Exit code 78 if a process would refuse to start.
    """
    try:
        settings = load_settings()
    except SettingsError as error:
        for line in str(error).splitlines():
            err.out(f"error: {line}", style="red", highlight=False)
        raise typer.Exit(EXIT_MISCONFIGURED) from None
    rows = [_row(settings, field.name) for field in fields(Settings)]
    if as_json:
        print_json(rows)
    else:
        print_rows("Settings", rows, empty="There are no settings.")


def _row(settings: Settings, field: str) -> dict[str, Any]:
    value, variable = getattr(settings, field), variables()[field]
    shown = "(set, not shown)" if isinstance(value, Secret) else "" if value is None else str(value)
    default = next(one.default for one in fields(Settings) if one.name == field)
    return {
        "name": variable.name,
        "value": shown,
        "origin": "default" if value == default else "environment",
        "meaning": variable.meaning,
    }
