"""What runs on plain hosts: units of systemd, Redis."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError

from common.command_line import _parser
from common.process import EXIT_MISCONFIGURED
from common.rpc_testing import free_port
from ops.valkey import valkey_binary

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = ("server", "worker")


def unit(name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment]
    parser.read(DEPLOY / "systemd" / f"kv-erp-{name}@.service")
    return parser


@pytest.mark.parametrize("name", UNITS)
def test_a_unit_starts_what_there_is(name: str) -> None:
    service = unit(name)["Service"]

    command = service["ExecStart"].split()

    assert command[1:3] == ["-m", "%i"]
    assert _parser("sales").parse_args(command[3:]).command == name
    assert int(service["RestartPreventExitStatus"]) == EXIT_MISCONFIGURED


@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_a_unit(name: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    path = DEPLOY / "systemd" / f"kv-erp-{name}@.service"

    done = subprocess.run(
        ["systemd-analyze", "verify", path], capture_output=True, text=True, check=False
    )

    # Neither the user nor the programs are on this machine.
    faults = [line for line in done.stderr.splitlines() if path.name in line]
    assert [line for line in faults if not re.search("not executable|User|user", line)] == []


def test_redis_reads_its_configuration(tmp_path: Path) -> None:
    text = (DEPLOY / "redis" / "redis.conf").read_text()
    port = free_port()
    configuration = tmp_path / "redis.conf"
    configuration.write_text(
        text.replace("port 6379", f"port {port}\nbind 127.0.0.1\ndir {tmp_path}")
    )

    process = subprocess.Popen([valkey_binary(), configuration], stdout=subprocess.DEVNULL)
    try:
        with Redis(port=port, password="change-me") as redis:
            while not _answers(redis):
                assert process.poll() is None
            said = {
                name: redis.config_get(name)[name]
                for name in ("appendonly", "save", "maxmemory-policy", "databases")
            }
    finally:
        process.terminate()
        process.wait(10)

    assert said == {
        "appendonly": "yes",
        "save": "3600 1",
        "maxmemory-policy": "noeviction",
        "databases": "16",
    }


def _answers(redis: "Redis") -> bool:
    try:
        return bool(redis.ping())
    except RedisError:
        return False
