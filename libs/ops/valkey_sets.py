"""Several Valkeys as one: a Sentinel set and a Cluster, to try failover on one machine."""

import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, Self

from redis import Redis
from redis.exceptions import RedisError

from ops.embedded import START_SECONDS
from ops.errors import StackFailure
from ops.ports import HOST
from ops.processes import ProcessSpec
from ops.valkey import EmbeddedValkey, valkey_binary

MASTER_NAME = "kv-erp"
_SENTINELS = 3
_QUORUM = 2
_SLOTS = 16384
_POLL_SECONDS = 0.02


class SentinelSet:
    """A master, its replicas and three sentinels; the master counts as dead after a second."""

    def __init__(self, directory: Path, replicas: int = 1) -> None:
        self._started = ExitStack()
        self.master = _Master(directory / "master")
        self.replicas = [
            _Replica(directory / f"replica-{number}", self.master.port)
            for number in range(replicas)
        ]
        self.sentinels = [
            _Sentinel(directory / f"sentinel-{number}", self.master.port)
            for number in range(_SENTINELS)
        ]

    @property
    def url(self) -> str:
        """Database 0 of whoever is master."""
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{MASTER_NAME}/0"

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for server in (self.master, *self.replicas):
                started.enter_context(server)
            for replica in self.replicas:
                _wait(partial(_replicates, replica.port), "a replica")
            for sentinel in self.sentinels:
                started.enter_context(sentinel)
            for sentinel in self.sentinels:
                _wait(partial(self._is_complete, sentinel.port), "a sentinel")
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def master_port(self) -> int:
        """Whom the first sentinel calls the master now."""
        sentinel = self.sentinels[0].port
        return int(_ask(sentinel, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME)[1])

    def _is_complete(self, port: int) -> bool:
        """Whether a sentinel knows all others and all replicas."""
        state = _ask(port, "SENTINEL", "MASTER", MASTER_NAME)
        found = int(state["num-other-sentinels"]), int(state["num-slaves"])
        return found == (_SENTINELS - 1, len(self.replicas))


class ValkeyCluster:
    """Masters that share the slots among them."""

    def __init__(self, directory: Path, masters: int = 3) -> None:
        self._started = ExitStack()
        self.masters = [_Member(directory / f"member-{number}") for number in range(masters)]

    @property
    def url(self) -> str:
        """All of it."""
        return f"redis+cluster://{','.join(f'{HOST}:{member.port}' for member in self.masters)}"

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for member in self.masters:
                started.enter_context(member)
            first, share = self.masters[0], _SLOTS // len(self.masters)
            for number, member in enumerate(self.masters):
                last = _SLOTS if member is self.masters[-1] else (number + 1) * share
                _ask(member.port, "CLUSTER", "ADDSLOTSRANGE", number * share, last - 1)
                if member is not first:
                    _ask(member.port, "CLUSTER", "MEET", HOST, first.port, first.bus_port)
            for member in self.masters:
                _wait(partial(self._is_whole, member.port), "the Cluster")
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def _is_whole(self, port: int) -> bool:
        state = _ask(port, "CLUSTER INFO")
        known = int(state["cluster_known_nodes"])
        return bool(state["cluster_state"] == "ok" and known == len(self.masters))


class _Master(EmbeddedValkey):
    def options(self) -> dict[str, str]:
        # A new replica is served at once instead of after five seconds.
        return {**super().options(), "--repl-diskless-sync-delay": "0"}


class _Replica(_Master):
    def __init__(self, directory: Path, master_port: int) -> None:
        super().__init__(directory)
        self._master_port = master_port

    def options(self) -> dict[str, str]:
        return {**super().options(), "--replicaof": f"{HOST} {self._master_port}"}


class _Sentinel(EmbeddedValkey):
    def __init__(self, directory: Path, master_port: int) -> None:
        super().__init__(directory)
        self._master_port = master_port

    def prepare(self) -> None:
        super().prepare()
        # A sentinel keeps what it learns in its own configuration.
        (self.directory / "sentinel.conf").write_text(
            f"bind {HOST}\nport {self.port}\ndir {self.directory}\n"
            f"sentinel monitor {MASTER_NAME} {HOST} {self._master_port} {_QUORUM}\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} 1000\n"
            f"sentinel failover-timeout {MASTER_NAME} 3000\n"
        )

    def process(self) -> ProcessSpec:
        configuration = str(self.directory / "sentinel.conf")
        return self._spec(str(valkey_binary()), configuration, "--sentinel")


class _Member(EmbeddedValkey):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.bus_port = self._ports.take("bus")

    def options(self) -> dict[str, str]:
        return {
            **super().options(),
            # A Cluster has one database.
            "--databases": "1",
            "--cluster-enabled": "yes",
            "--cluster-port": str(self.bus_port),
            "--cluster-node-timeout": "2000",
        }


def _replicates(port: int) -> bool:
    return bool(_ask(port, "INFO", "replication")["master_link_status"] == "up")


def _ask(port: int, *command: str | int) -> Any:
    with Redis(host=HOST, port=port, decode_responses=True) as server:
        return server.execute_command(*command)


def _wait(condition: Callable[[], bool], title: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _holds(condition):
        if time.monotonic() > deadline:
            raise StackFailure(f"{title} was not ready in time.")
        time.sleep(_POLL_SECONDS)


def _holds(condition: Callable[[], bool]) -> bool:
    try:
        return condition()
    except (RedisError, KeyError):
        return False
