"""The whole stack with real PostgreSQL and Valkey, and stand-ins for the services."""

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ops.credentials import DATABASES
from ops.tests.conditions import is_running, until_blocking

pytestmark = pytest.mark.first

STANDIN = Path(__file__).with_name("standin_service.py")
START_SECONDS = 60


class Run:
    """`kv-erp up` as a process."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory / ".dev"
        self.journal = directory / "journal"
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ops", "up"],
            cwd=directory,
            env={
                **os.environ,
                "PYTHONPATH": os.pathsep.join([str(directory / "standins"), *sys.path]),
                "KV_ERP_DEV_DIR": str(self.directory),
                "STANDIN_JOURNAL": str(self.journal),
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def until_ready(self) -> str:
        """The ready line; fails with all output if the stack ends instead."""
        assert self.process.stdout is not None
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if line.startswith("ready "):
                return line.strip()
        raise AssertionError("".join(seen))

    def output_at_the_end(self) -> str:
        """Wait until it has ended by itself or was stopped."""
        output, _ = self.process.communicate(timeout=START_SECONDS)
        return output

    def state(self) -> dict[str, Any]:
        """What state.json says now."""
        return dict(json.loads((self.directory / "state.json").read_text()))

    def pids(self) -> list[int]:
        """Every process of the stack."""
        return [pid for pids in self.state()["processes"].values() for pid in pids]

    def stop(self) -> str:
        """Ctrl-C."""
        self.process.send_signal(signal.SIGINT)
        return self.output_at_the_end()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    for service in DATABASES:
        package = tmp_path / "standins" / service
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "__main__.py").write_text(STANDIN.read_text())
    runs: list[Run] = []

    def start(**environment: str) -> Run:
        runs.append(Run(tmp_path, **environment))
        return runs[-1]

    yield start
    for each in runs:
        if each.process.poll() is None:
            each.stop()
        if each.process.stdout is not None:
            each.process.stdout.close()


def test_the_stack_starts_follows_a_killed_process_and_leaves_nothing(
    run: Callable[..., Run],
) -> None:
    stack = run()

    assert stack.until_ready() == f"ready {stack.state()['gateway']}"
    state = stack.state()
    assert state["tenants"]["acme"]["token"] == "token-of-acme"
    assert state["processes"].keys() == {
        *("postgres", "redis", "mailbox", "gateway", "gateway-worker"),
        *("inventory", "inventory-worker", "accounting", "accounting-worker"),
        *("sales", "sales-worker"),
    }
    assert stat.S_IMODE((stack.directory / "state.json").stat().st_mode) == 0o600
    with psycopg.connect(state["databases"]["sales"]) as operator:
        assert operator.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")

    for name in ("inventory-worker", "gateway", "redis", "mailbox", "postgres"):
        (killed,) = stack.state()["processes"][name]
        os.kill(killed, signal.SIGKILL)
        until_blocking(
            lambda name=name, killed=killed: killed not in stack.state()["processes"][name]
        )

    pids = stack.pids()
    stack.stop()
    assert stack.process.returncode == 0
    assert not any(map(is_running, pids))
    assert not (stack.directory / "state.json").exists()


def test_a_second_start_keeps_tenants_and_ports(run: Callable[..., Run]) -> None:
    first = run()
    first.until_ready()
    before = first.state()
    first.stop()

    second = run()
    second.until_ready()

    # Every stack of this machine would like to have 8080 for its gateway.
    del before["processes"], before["gateway"]
    assert before.items() <= second.state().items()
    assert second.state()["operator"] == {"token": "token-of-the-operator"}
    assert first.journal.read_text().count("gateway seed ended") == 1
    assert first.journal.read_text().count("gateway operator ended") == 1


def test_the_gateway_stops_first_then_workers_then_servers(run: Callable[..., Run]) -> None:
    stack = run()
    stack.until_ready()
    stack.journal.write_text("")

    stack.process.send_signal(signal.SIGTERM)
    stack.output_at_the_end()

    kinds = [
        "gateway" if line.startswith("gateway server") else line.split()[1]
        for line in stack.journal.read_text().splitlines()
    ]
    assert kinds == ["gateway"] + ["worker"] * 4 + ["server"] * 3


def test_nothing_outlives_a_killed_stack_and_the_next_one_starts(run: Callable[..., Run]) -> None:
    stack = run()
    stack.until_ready()
    pids = stack.pids()

    stack.process.kill()

    until_blocking(lambda: not any(map(is_running, pids)))
    assert run().until_ready()


def test_a_service_that_fails_to_start_ends_the_stack_with_its_log(run: Callable[..., Run]) -> None:
    stack = run(STANDIN_FAILS="sales server")

    output = stack.output_at_the_end()

    assert stack.process.returncode == 1
    assert "stand-in: told to fail" in output
    assert re.search(r"error: sales ended with exit code 1", output)
    assert "Traceback" not in output


def test_a_migration_that_fails_ends_the_stack_with_its_log(run: Callable[..., Run]) -> None:
    stack = run(STANDIN_FAILS="accounting migrate")

    output = stack.output_at_the_end()

    assert stack.process.returncode == 1
    assert "error: accounting-migrate ended with exit code 1" in output


def test_the_data_of_a_replica_that_took_over_is_not_overwritten(run: Callable[..., Run]) -> None:
    first = run(STANDIN_FAILS="accounting migrate")
    first.output_at_the_end()
    record = {"primary": "postgres-replica-1", "confirming": []}
    (first.directory / "cluster.json").write_text(json.dumps(record))

    second = run()

    assert "postgres-replica-1 has taken over" in " ".join(second.output_at_the_end().split())
    assert second.process.returncode == 1


def test_a_second_stack_in_the_same_directory_is_refused(run: Callable[..., Run]) -> None:
    first = run()
    first.until_ready()

    second = run()

    assert (
        f"error: Another stack (pid {first.process.pid}) is running" in second.output_at_the_end()
    )
    assert second.process.returncode == 1
    assert first.state()["processes"]
