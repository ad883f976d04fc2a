"""The local stack: PostgreSQL, Valkey, every service, worker and the gateway, in one foreground."""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Self

from ops.backups import BackupStore
from ops.cluster import Cluster
from ops.credentials import DATABASES, SERVICES, Credentials
from ops.databases import prepare_databases
from ops.dev_directory import DevDirectory
from ops.embedded import EmbeddedServer
from ops.environment import Wiring, port_names
from ops.errors import StackFailure
from ops.files import read_json, write_json
from ops.mailbox import Mailbox
from ops.node import Node
from ops.ports import HOST, Ports, parse_port
from ops.postgres import UNSYNCED, EmbeddedPostgres
from ops.processes import ProcessSpec
from ops.progress import Progress, quiet
from ops.readiness import wait_for_companies, wait_for_grpc, wait_for_http, wait_until
from ops.replica import PRIMARY_SETTINGS, EmbeddedReplica
from ops.revisions import is_newest
from ops.supervisor import Supervisor
from ops.together import together
from ops.urls import postgres_url_from, redis_url_from
from ops.valkey import EmbeddedValkey

DEFAULT_HTTP_PORT = 8080
# So much of the newest work is in the server's own directory only.
ARCHIVE_SECONDS = 300


class Stack:
    """A whole kv-erp on this machine, described by `state` once it has started.

    `async with Stack(directory) as stack` in the main thread, or `start()` and `stop()`.
    `environment` (the caller's by default) configures it: KV_ERP_HTTP_PORT, DATABASE_URL or
    DB_HOST, REDIS_URL or REDIS_HOST; everything else in it is passed on to the services.
    `replicas` of the embedded PostgreSQL answer reads, and with `failover` one of them takes over
    when the primary dies; `backups` is where its log is archived. Without `fsync` no commit waits
    for the disk.
    """

    def __init__(
        self,
        directory: Path,
        *,
        environment: Mapping[str, str] | None = None,
        progress: Progress | None = None,
        replicas: int = 0,
        failover: bool = False,
        fsync: bool = True,
        backups: BackupStore | None = None,
    ) -> None:
        self.directory = DevDirectory(directory)
        self.state: dict[str, Any] = {}
        self._environment = dict(os.environ if environment is None else environment)
        self._progress = progress or quiet()
        self._ports = Ports()
        self._supervisor: Supervisor | None = None
        self._failover = failover
        self._fsync = fsync
        self._cluster: Cluster | None = None
        self._watch: asyncio.Task[None] | None = None
        self._backups = backups
        self._replica_names = [f"postgres-replica-{number + 1}" for number in range(replicas)]

    async def __aenter__(self) -> Self:
        try:
            await self.start()
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start everything and write state.json; a StackFailure says in one sentence why not."""
        self.directory.claim()
        self.directory.state.unlink(missing_ok=True)
        supervisor = self._supervisor = Supervisor(self._write_state)
        self._choose_ports()
        credentials = Credentials(self.directory.secrets)

        wiring = await self._start_data(supervisor, credentials)
        with self._progress.step("Databases and roles"):
            created = await asyncio.to_thread(prepare_databases, wiring.superuser_url, credentials)
        with self._progress.step("Migrations"):
            await supervisor.while_running(self._migrate(supervisor, wiring))
        if wiring.has_mailbox:
            await self._start_mailbox(supervisor)
        await self._start_services(supervisor, wiring)
        if credentials.tenants is None or "gateway" in created:
            with self._progress.step("Demo tenants"):
                tenants = await self._print_of("seed", supervisor, wiring)
                await supervisor.while_running(_wait_for_companies(wiring, tenants))
                credentials.keep_tenants(tenants)
        if credentials.operator is None or "gateway" in created:
            credentials.keep_operator(await self._print_of("operator", supervisor, wiring))

        supervisor.settle()
        if self._cluster is not None:
            self._watch = asyncio.create_task(self._cluster.watch())
        self.state = self._describe(wiring)
        self._write_state()

    async def stop(self) -> None:
        """Stop everything in order and leave nothing running; safe after a start that failed."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
            self._watch = None
        if self._supervisor is not None:
            if self._supervisor.pids():
                with self._progress.step("Stopped"):
                    await self._supervisor.stop()
            self._supervisor = None
            self.directory.state.unlink(missing_ok=True)
        self.state = {}
        self._ports.close()
        self.directory.release()

    def hasten(self) -> None:
        """Cut the graces of a `stop()` short, be it under way or still to come."""
        if self._supervisor is not None:
            self._supervisor.hasten.set()

    def _choose_ports(self) -> None:
        self._ports = Ports(read_json(self.directory.ports))
        if fixed := self._environment.get("KV_ERP_HTTP_PORT"):
            port = parse_port(fixed, "KV_ERP_HTTP_PORT")
            self._ports.take_exactly("gateway.http", port, "KV_ERP_HTTP_PORT")
        else:
            self._ports.take("gateway.http", preferred=DEFAULT_HTTP_PORT)
        for name in ("postgres", "redis", "mailbox", *self._replica_names, *port_names()):
            self._ports.take(name)
        write_json(self.directory.ports, self._ports.numbers)

    async def _start_data(self, supervisor: Supervisor, credentials: Credentials) -> Wiring:
        """Start PostgreSQL and Valkey where the environment names no server of the operator's."""
        self._refuse_another_primary()
        postgres, valkey = self._embedded(credentials)
        superuser_url = self._own_database_url()
        redis_url = redis_url_from(self._environment)
        embedded: dict[str, EmbeddedServer] = {}
        if superuser_url is None and self._failover:
            superuser_url = await self._start_cluster(supervisor, credentials)
        elif superuser_url is None:
            embedded["PostgreSQL"] = postgres
        if redis_url is None:
            embedded["Valkey"] = valkey
        if embedded:
            with self._progress.step(" and ".join(embedded)):
                await together(*(_start_embedded(*one, supervisor) for one in embedded.items()))
        if self._replica_names and self._cluster is None:
            with self._progress.step("Replicas"):
                await self._start_replicas(supervisor, postgres)
        return Wiring(
            inherited=self._environment,
            superuser_url=superuser_url or postgres.superuser_url,
            redis_url=redis_url or valkey.url,
            ports=self._ports.numbers,
            credentials=credentials,
            replicas=self._replica_names,
        )

    def _embedded(self, credentials: Credentials) -> tuple[EmbeddedPostgres, EmbeddedValkey]:
        postgres = EmbeddedPostgres(
            self.directory.postgres,
            port=self._ports.numbers["postgres"],
            password=credentials.superuser_password,
            log=self.directory.logs / "postgres.log",
            settings=self._postgres_settings(),
        )
        valkey = EmbeddedValkey(
            self.directory.valkey,
            port=self._ports.numbers["redis"],
            log=self.directory.logs / "redis.log",
        )
        return postgres, valkey

    def _refuse_another_primary(self) -> None:
        """A replica that has taken over holds what `postgres` lacks: nothing may overwrite it."""
        known = read_json(self.directory.cluster) or {"primary": "postgres"}
        allowed = ["postgres", *(self._replica_names if self._failover else ())]
        if known["primary"] not in allowed:
            raise StackFailure(
                f"{known['primary']} has taken over as primary: start with --failover and as many"
                " --replicas as before."
            )

    def _own_database_url(self) -> str | None:
        """The operator's server, which is his to replicate and to back up."""
        url = postgres_url_from(self._environment)
        for option, wanted in (("replicas", self._replica_names), ("backups", self._backups)):
            if url is not None and wanted:
                raise StackFailure(
                    f"--{option} is for the embedded PostgreSQL: unset DATABASE_URL."
                )
        return url

    async def _start_cluster(self, supervisor: Supervisor, credentials: Credentials) -> str:
        """Start PostgreSQL as a primary and standbys that can succeed it; its URL."""
        nodes = [
            Node(
                name,
                self.directory.postgres.with_name(name),
                port=self._ports.numbers[name],
                password=credentials.superuser_password,
                log=self.directory.logs / f"{name}.log",
                settings=self._postgres_settings(),
            )
            for name in ("postgres", *self._replica_names)
        ]
        cluster = self._cluster = Cluster(nodes, self.directory.cluster)
        for node in (cluster.primary, *cluster.standbys):
            with self._progress.step(f"PostgreSQL: {node.name}"):
                await supervisor.start(node.process(), before=partial(cluster.before_start, node))
                ready = wait_until(partial(asyncio.to_thread, node.is_ready), node.name)
                await supervisor.while_running(ready)
        return cluster.url()

    def _postgres_settings(self) -> dict[str, str]:
        settings = {} if self._fsync else dict(UNSYNCED)
        if self._replica_names:
            settings |= PRIMARY_SETTINGS
        if self._backups is not None:
            self._backups.prepare()
            settings |= self._backups.wal.server_settings(ARCHIVE_SECONDS)
        return settings

    async def _start_replicas(self, supervisor: Supervisor, primary: EmbeddedPostgres) -> None:
        replicas = [
            EmbeddedReplica(
                primary,
                self.directory.postgres.with_name(name),
                name=name,
                port=self._ports.numbers[name],
                log=self.directory.logs / f"{name}.log",
            )
            for name in self._replica_names
        ]
        await together(*(_start_embedded(one.name, one, supervisor) for one in replicas))

    async def _start_mailbox(self, supervisor: Supervisor) -> None:
        mailbox = Mailbox(
            self.directory.mail,
            port=self._ports.numbers["mailbox"],
            log=self.directory.logs / "mailbox.log",
        )
        with self._progress.step("Mailbox"):
            await _start_embedded(mailbox.title, mailbox, supervisor)

    async def _migrate(self, supervisor: Supervisor, wiring: Wiring) -> None:
        """Bring the databases to the newest schema, those that have it without a process each."""
        urls = {name: wiring.operator_database_url(name) for name in DATABASES}
        newest = await together(*(asyncio.to_thread(is_newest, *one) for one in urls.items()))
        lacking = [name for name, done in zip(urls, newest, strict=True) if not done]
        await supervisor.complete(*(self._migration(name, wiring) for name in lacking))

    async def _start_services(self, supervisor: Supervisor, wiring: Wiring) -> None:
        with self._progress.step("Services"):
            servers = [self._server(name, wiring) for name in SERVICES]
            await supervisor.start(*servers)
        with self._progress.step("Workers"):
            workers = [self._worker(name, wiring) for name in DATABASES]
            await supervisor.start(*workers)
        with self._progress.step("Gateway"):
            await supervisor.start(self._server("gateway", wiring))
        with self._progress.step("Health"):
            await supervisor.while_running(self._wait_for_health(wiring))

    async def _wait_for_health(self, wiring: Wiring) -> None:
        services = (wait_for_grpc(wiring.address(f"{name}.grpc"), name) for name in DATABASES)
        gateway = wait_for_http(f"{_gateway_url(wiring)}/api/health/ready", "The gateway")
        await together(gateway, *services)

    async def _print_of(
        self, command: str, supervisor: Supervisor, wiring: Wiring
    ) -> dict[str, Any]:
        """What `python -m gateway seed` or `operator` prints: credentials."""
        environment = wiring.for_migration("gateway")
        spec = self._process(f"gateway-{command}", "gateway", command, environment)
        output = await supervisor.while_running(supervisor.output(spec))
        try:
            return dict(json.loads(output))
        except ValueError as error:
            sentence = f"`python -m gateway {command}` printed no JSON."
            raise StackFailure(sentence, spec.log_tail()) from error

    def _server(self, service: str, wiring: Wiring) -> ProcessSpec:
        return self._process(service, service, "server", wiring.for_server(service))

    def _worker(self, service: str, wiring: Wiring) -> ProcessSpec:
        return self._process(f"{service}-worker", service, "worker", wiring.for_worker(service))

    def _migration(self, service: str, wiring: Wiring) -> ProcessSpec:
        environment = wiring.for_migration(service)
        return self._process(f"{service}-migrate", service, "migrate", environment)

    def _process(
        self, name: str, service: str, command: str, environment: Mapping[str, str]
    ) -> ProcessSpec:
        return ProcessSpec(
            name=name,
            argv=(sys.executable, "-m", service, command),
            environment=environment,
            log=self.directory.logs / f"{name}.log",
        )

    def _describe(self, wiring: Wiring) -> dict[str, Any]:
        """The content of state.json, but the processes."""
        metrics = [name for name in port_names() if name.endswith(".metrics")]
        return {
            "gateway": _gateway_url(wiring),
            "tenants": wiring.credentials.tenants,
            "operator": wiring.credentials.operator,
            "grpc": {name: wiring.address(f"{name}.grpc") for name in DATABASES},
            "databases": {name: wiring.operator_database_url(name) for name in DATABASES},
            "redis": wiring.redis_url,
            "backups": str(self._backups.directory) if self._backups else None,
            "backup_key": self._backups and self._backups.key_file and str(self._backups.key_file),
            "smtp": wiring.smtp,
            **({"mailbox": str(self.directory.mail)} if wiring.has_mailbox else {}),
            "replicas": {name: wiring.replica_url(name) for name in wiring.replicas},
            "metrics": {
                name.removesuffix(".metrics"): f"http://{wiring.address(name)}/metrics"
                for name in metrics
            },
        }

    def _write_state(self) -> None:
        """Bring state.json up to date, once there is something to describe."""
        if self.state and self._supervisor is not None:
            self.state["processes"] = self._supervisor.pids()
            if self._cluster is not None:
                self.state["primary"] = self._cluster.primary.name
            write_json(self.directory.state, self.state)


async def _wait_for_companies(wiring: Wiring, tenants: Mapping[str, Any]) -> None:
    ids = [tenant["id"] for tenant in tenants.values()]
    urls = {name: wiring.operator_database_url(name) for name in SERVICES}
    await together(*(wait_for_companies(url, ids, name) for name, url in urls.items()))


def _gateway_url(wiring: Wiring) -> str:
    return f"http://{HOST}:{wiring.ports['gateway.http']}"


async def _start_embedded(title: str, server: EmbeddedServer, supervisor: Supervisor) -> None:
    """Start one server of the stack's own and wait until it answers."""
    await asyncio.to_thread(server.prepare)
    await supervisor.start(server.process())
    ready = wait_until(lambda: asyncio.to_thread(server.is_ready), title)
    await supervisor.while_running(ready)
