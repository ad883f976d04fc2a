"""`kv-erp operator`: how somebody becomes an operator of the platform."""

import json
import os
import subprocess
import sys
from typing import Annotated

import typer

from ops.commands.console import dev_directory, failures_as_sentences, out, running_state
from ops.credentials import Credentials
from ops.dev_directory import DevDirectory
from ops.environment import Wiring
from ops.errors import StackFailure
from ops.files import read_json


def operator(
    name: Annotated[str, typer.Option(help="Whose; an older one of theirs ends.")] = "kv-erp",
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
        out.out(json.loads(done.stdout)["token"], highlight=False)


def _environment() -> dict[str, str]:
    if "DATABASE_URL" in os.environ:
        return dict(os.environ)
    state, directory = running_state(), DevDirectory(dev_directory())
    wiring = Wiring(
        inherited=os.environ,
        superuser_url=state["databases"]["gateway"],
        redis_url=state["redis"],
        ports=read_json(directory.ports),
        credentials=Credentials(directory.secrets),
    )
    return wiring.for_migration("gateway")
