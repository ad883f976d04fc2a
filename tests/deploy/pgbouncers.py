"""PgBouncer with our configuration, on loopback."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from common.rpc_testing import free_port
from ops.postgres import EmbeddedPostgres, account_for, give
from ops.processes import ProcessSpec, spawn_blocking, stop_blocking

CONFIGURATION = Path(__file__).parents[2] / "deploy" / "pgbouncer" / "pgbouncer.ini"


def binary() -> str:
    """Where PgBouncer is; skips the test, and says why, where it is not."""
    found = shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("PgBouncer is not installed: apt-get install pgbouncer")
    return found


@contextmanager
def running(
    folder: Path, postgres: EmbeddedPostgres, passwords: Mapping[str, str], pool_size: int
) -> Iterator[int]:
    """PgBouncer before a server, for these roles and with pools of this size; its port.

    It also lets the superuser in, to whom it leads in production to no database.
    """
    port = free_port()
    roles = {**passwords, "postgres": postgres.password}
    users = folder / "userlist.txt"
    users.write_text("".join(f'"{name}" "{password}"\n' for name, password in roles.items()))
    text = CONFIGURATION.read_text()
    superuser = "postgres = host=db1.example.com port=5432 dbname=postgres"
    text = text.replace("[databases]", f"[databases]\n{superuser}")
    text = text.replace("default_pool_size = 25", f"default_pool_size = {pool_size}")
    text = text.replace("host=db1.example.com port=5432", f"host=127.0.0.1 port={postgres.port}")
    text = text.replace("listen_port = 6432", f"listen_port = {port}")
    text = text.replace("/etc/pgbouncer", str(folder))
    text = re.sub(r"/var/(log|run)/postgresql", str(folder), text)
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(text)
    account = account_for(folder)  # it refuses root
    if account is not None:
        for path in (folder, *folder.iterdir()):
            give(path, account)
    spec = ProcessSpec(
        name="pgbouncer",
        argv=(binary(), "--quiet", str(configuration)),
        environment={"PATH": "/usr/bin:/bin"},
        log=folder.with_name("pgbouncer.out"),
        account=account,
        directory=Path("/"),
    )
    process = spawn_blocking(spec)
    try:
        _await(process, folder, port)
        yield port
    finally:
        stop_blocking(spec, process)


def _await(process: "subprocess.Popen[bytes]", folder: Path, port: int) -> None:
    log = folder / "pgbouncer.log"
    deadline = time.monotonic() + 20
    while not (log.exists() and f"listening on 127.0.0.1:{port}" in log.read_text()):
        assert process.poll() is None, folder.with_name("pgbouncer.out").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.02)
