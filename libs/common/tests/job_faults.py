"""Servers and workers that a test may break, and what it sees of the jobs."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import psycopg
from redis import Redis

from common.identity import Minter, encode_key
from common.jobs_testing import eventually
from common.testing import ServiceDatabase, rows_of
from common.tests import job_process
from ops.postgres import EmbeddedPostgres
from ops.valkey import EmbeddedValkey

LEASE_SECONDS = 1.5
HEARTBEAT_SECONDS = 0.25
# What a loaded machine may add to a promised time.
PATIENCE_SECONDS = 6.0
_SEED = b"n" * 32
_PROCESS = job_process.__name__


@dataclass
class Site:
    """A PostgreSQL and a Valkey of one's own, and worker processes on them."""

    postgres: EmbeddedPostgres
    valkey: EmbeddedValkey
    scratch: ServiceDatabase
    folder: Path
    workers: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start_worker(self, *, clock: float = 0, **settings: object) -> "subprocess.Popen[bytes]":
        """Start a worker; does not wait until it works."""
        moved = ("common.tests.moved_clock", str(clock)) if clock else ()
        with (self.folder / f"worker-{len(self.workers)}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *moved, _PROCESS, "worker"],
                env=self._environment() | {name: str(value) for name, value in settings.items()},
                stdout=log,
                stderr=log,
            )
        self.workers.append(process)
        return process

    def _environment(self) -> dict[str, str]:
        public = encode_key(Minter("notes", _SEED).public_key())
        return {
            "PATH": os.environ["PATH"],
            "DATABASE_URL": self.scratch.app,
            "KV_ERP_SYSTEM_DATABASE_URL": self.scratch.system,
            "REDIS_URL": self.valkey.url,
            "KV_ERP_IDENTITY_KEY": f"notes:{encode_key(_SEED)}",
            "KV_ERP_IDENTITY_TRUSTED_KEYS": f"notes:{public}",
            # Nobody listens to the events of this service.
            "KV_ERP_GATEWAY_TARGET": "127.0.0.1:1",
            "KV_ERP_JOB_LEASE_SECONDS": str(LEASE_SECONDS),
            "KV_ERP_JOB_HEARTBEAT_SECONDS": str(HEARTBEAT_SECONDS),
            "KV_ERP_SHUTDOWN_GRACE_SECONDS": "0.5",
        }

    def kill_workers(self) -> None:
        """Leave nothing running."""
        for process in self.workers:
            process.kill()
            process.wait()
        self.workers.clear()

    def log(self) -> str:
        """What the workers said."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("worker-*.log")))

    def forget_jobs(self) -> None:
        with psycopg.connect(self.scratch.operator) as connection:
            connection.execute("DELETE FROM jobs; DELETE FROM failed_jobs; DELETE FROM effects")

    def effects(self, tenant: UUID) -> list[tuple[str, int]]:
        """Which effects jobs had, and at which attempt, in their order."""
        query = "SELECT name, attempt FROM effects WHERE tenant_id = %s ORDER BY made_at"
        rows = rows_of(self.scratch.operator, query, tenant)
        return [(str(name), int(str(attempt))) for name, attempt in rows]

    async def struck(self, tenant: UUID, number: signal.Signals) -> subprocess.Popen[bytes]:
        """Wait until a worker is at the point where it is to be struck, and strike it."""
        await eventually(lambda: self._at_the_point(tenant) != [])
        ((pid,),) = self._at_the_point(tenant)
        (worker,) = (worker for worker in self.workers if worker.pid == pid)
        worker.send_signal(number)
        return worker

    async def put_to_sleep(self, tenant: UUID) -> subprocess.Popen[bytes]:
        """Stop a worker at the point, between two transactions: its locks would outlast a lease."""
        worker = await self.struck(tenant, signal.SIGSTOP)

        def sleeps() -> bool:
            if self._transactions() == 0:
                return True
            worker.send_signal(signal.SIGCONT)
            time.sleep(0.01)
            worker.send_signal(signal.SIGSTOP)
            return False

        await eventually(sleeps)
        return worker

    def _transactions(self) -> int:
        query = """
            SELECT FROM pg_stat_activity WHERE usename LIKE 'scratch_%%' AND xact_start IS NOT NULL
        """
        return len(rows_of(self.scratch.operator, query))

    def _at_the_point(self, tenant: UUID) -> list[tuple[object, ...]]:
        query = """
            SELECT DISTINCT done FROM jobs WHERE tenant_id = %s AND state = 'running' AND done > 0
        """
        return rows_of(self.scratch.operator, query, tenant)

    def flush_redis(self) -> None:
        with Redis.from_url(self.valkey.url) as redis:
            redis.flushall()

    def hang_redis(self) -> None:
        """Let Valkey accept connections and never answer."""
        assert self.valkey.pid is not None
        os.kill(self.valkey.pid, signal.SIGSTOP)

    def kill_redis(self) -> None:
        assert self.valkey.pid is not None
        os.kill(self.valkey.pid, signal.SIGKILL)

    def mend_redis(self) -> None:
        """Let Valkey answer again, if it is hung, or start it again, if it is dead."""
        assert self.valkey.pid is not None
        os.kill(self.valkey.pid, signal.SIGCONT)
        if not self.valkey.is_ready():
            self.valkey.stop()
            self.valkey.start()
