"""`kv-erp operator`: how somebody becomes an operator of the platform."""

import json
import os
import subprocess
import sys
from typing import Annotated

import typer

from ops.commands.console import (
    AsJson,
    failures_as_sentences,
    out,
    print_json,
    running_wiring,
)
from ops.errors import StackFailure


def operator(
    name: Annotated[str, typer.Option(help="Whose; an older one of theirs ends.")] = "kv-erp",
    as_json: AsJson = False,
) -> None:
    """Print a new token of an operator of the platform.

    Beside DATABASE_URL and KV_ERP_SYSTEM_DATABASE_URL it means the gateway's database that these
    name, else the running local stack's.
    """
    with failures_as_sentences():
        command = [sys.executable, "-m", "gateway", "operator", name]
        environment = _environment()
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise StackFailure("No token was made.", done.stderr)
    made = json.loads(done.stdout)["token"]
    if as_json:
        print_json({"name": name, "token": made})
    else:
        out.out(made, highlight=False)


def _environment() -> dict[str, str]:
    if "DATABASE_URL" in os.environ:
        return dict(os.environ)
    return running_wiring(os.environ).for_migration("gateway")
