"""The load tests themselves, for a few seconds: no error, and every promise holds afterwards."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ops.background import BackgroundStack
from ops.commands.audit import violations_of

pytestmark = pytest.mark.first

LOAD = Path(__file__).parent
SECONDS = 10


def run(stack: BackgroundStack, *command: str, **variables: str) -> str:
    environment = {**os.environ, "KV_ERP_DEV_DIR": str(stack.directory), **variables}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


def kv_erp(stack: BackgroundStack, *arguments: str) -> Any:
    program = str(Path(sys.executable).with_name("kv-erp"))
    return json.loads(run(stack, program, *arguments, "--json"))


def test_a_working_day_in_short_makes_no_error_and_breaks_no_promise(
    stack: BackgroundStack,
) -> None:
    seeded = kv_erp(stack, "seed", "--tenants=2", "--products=41", "--customers=7")

    said = run(
        stack,
        *(sys.executable, "-m", "locust", "-f", str(LOAD / "locustfile.py"), "--headless"),
        *("--users=12", "--spawn-rate=12", f"--run-time={SECONDS}s", "--stop-timeout=20"),
        *("--exit-code-on-error=1", "--json"),
        LOAD_DATA=seeded["file"],
        LOAD_THINK_SECONDS="0.3",
    )

    assert (seeded["tenants"], seeded["products"], seeded["customers"]) == (2, 41, 7)
    routes = {row["name"]: row["num_requests"] for row in json.loads(said)}
    assert routes["POST /orders"] > 5
    assert routes["GET /products/{id}"] > 5
    assert violations(stack, seeded["file"]) == {}


def violations(stack: BackgroundStack, file: str) -> dict[str, Any]:
    """What the check finds in the tenants that were under load, once they are settled."""
    data = json.loads(Path(file).read_text())
    found = {one["slug"]: violations_of(data["gateway"], one["token"]) for one in data["tenants"]}
    return {slug: broken for slug, broken in found.items() if broken}
