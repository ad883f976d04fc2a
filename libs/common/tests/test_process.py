"""Processes as an operator meets them: a small service, started from a command line."""

import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.rpc_testing import free_port

SERVICE = """
import asyncio
import sys

from common.command_line import service_command_line
from common.rpc_testing import TRUSTED_KEYS
from common.identity import Verifier
from common.server import Service, serve
from erp.events.v1 import events_pb2, events_pb2_grpc


async def server(settings, stop):
    service = Service(
        events_pb2.DESCRIPTOR.services_by_name["EventLog"],
        events_pb2_grpc.add_EventLogServicer_to_server,
        events_pb2_grpc.EventLogServicer(),
    )
    await serve("echo", settings, stop, [service], Verifier(TRUSTED_KEYS, "echo"))


async def work(settings, stop, options):
    print(options, flush=True)
    await stop.wait()


def migrate(settings):
    settings.need_secret("migration_database_url")


service_command_line("echo", server, work, migrate)
"""
LIBS = Path(__file__).parents[2]


@pytest.fixture
def start(tmp_path):
    """Start the service with arguments and settings; whatever still runs at the end is killed."""
    (tmp_path / "echo").mkdir()
    (tmp_path / "echo" / "__main__.py").write_text(SERVICE)
    started = []

    def start(*arguments, **settings):
        kept = {name: text for name, text in os.environ.items() if not name.startswith("KV_ERP_")}
        process = subprocess.Popen(
            [sys.executable, "-m", "echo", *arguments],
            cwd=tmp_path,
            env={**kept, "PYTHONPATH": str(LIBS), **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        # Found by their folder: children of a parent that has been killed are nobody's any more.
        for left in psutil.process_iter(["cwd"]):
            if left.info["cwd"] == str(tmp_path):
                left.kill()
        process.communicate()


@pytest.fixture
def port():
    return free_port()


def until(condition):
    limit = time.monotonic() + 20
    while not (found := condition()):
        assert time.monotonic() < limit, "it did not happen within 20 seconds"
        time.sleep(0.02)
    return found


def serves(port):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=1
            )
        except grpc.RpcError:
            return False
        return answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_ends_well(start, port, number):
    process = start("server", KV_ERP_GRPC_BIND=f"127.0.0.1:{port}")
    until(lambda: serves(port))

    process.send_signal(number)
    output, errors = process.communicate(timeout=10)

    assert process.returncode == 0
    assert '"event":"drained"' in output
    assert errors == ""


def test_a_worker_knows_its_queues_and_stops_when_told(start):
    process = start("worker", "--queue=high,default", "--queue", "low", "--tries", "5")
    line = process.stdout.readline()

    process.terminate()

    assert "queues=('high', 'default', 'low'), tries=5, timeout_seconds=60" in line
    assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("arguments", "settings", "sentence"),
    [
        (["server"], {"KV_ERP_GRPC_BID": "x"}, "Did you mean KV_ERP_GRPC_BIND?"),
        (["server", "--workers", "2"], {}, "needs a fixed port"),
        (["migrate"], {}, "KV_ERP_MIGRATION_DATABASE_URL is not set."),
        (["server"], {"KV_ERP_GRPC_BIND": "192.0.2.1:1"}, "cannot listen on 192.0.2.1:1"),
        (["server"], {"KV_ERP_METRICS_BIND": "192.0.2.1:1"}, "cannot listen on 192.0.2.1:1"),
    ],
)
def test_wrong_settings_end_a_process_with_a_sentence(start, arguments, settings, sentence):
    process = start(*arguments, **settings)
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 78
    assert sentence in errors
    assert "Traceback" not in errors


def test_metrics_are_served_beside_the_service(start, port):
    process = start("server", KV_ERP_METRICS_BIND=f"127.0.0.1:{port}")
    process.stdout.readline()

    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        assert b"process_resident_memory_bytes" in answer.read()


class TestSeveralProcesses:
    @pytest.fixture
    def parent(self, start, port):
        process = start("server", "--workers", "2", KV_ERP_GRPC_BIND=f"127.0.0.1:{port}")
        until(lambda: serves(port) and len(self.children(process)) == 2)
        return process

    def children(self, parent):
        return [child for child in psutil.Process(parent.pid).children() if child.is_running()]

    def test_they_share_a_port_and_end_together(self, parent):
        children = self.children(parent)

        parent.terminate()

        assert parent.wait(10) == 0
        assert not any(child.is_running() for child in children)

    def test_one_that_dies_is_replaced(self, parent):
        victim, survivor = self.children(parent)

        victim.kill()

        new = until(
            lambda: {child.pid for child in self.children(parent)} - {victim.pid, survivor.pid}
        )
        assert len(new) == 1

    def test_none_outlives_the_parent(self, parent):
        children = self.children(parent)

        parent.kill()

        until(lambda: not any(child.is_running() for child in children))


def test_when_the_settings_are_wrong_for_one_process_none_is_started_again(start):
    process = start("server", "--workers", "2", KV_ERP_GRPC_BIND="192.0.2.1:1")
    _, errors = process.communicate(timeout=20)

    assert process.returncode == 78
    assert "cannot listen on 192.0.2.1:1" in errors
    assert "starting another" not in errors
