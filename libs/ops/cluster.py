"""Several PostgreSQL servers, of which one is the primary: who follows it, and who succeeds it."""

import asyncio
import os
import signal
import time
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import structlog

from ops.files import read_json, write_json
from ops.node import Node
from ops.ports import HOST

# A primary that has not answered for so long is taken for dead, and killed before it is replaced.
SILENCE_SECONDS = 3.0
# Commits wait so long for a standby that has gone, before they go on without it.
DEGRADE_SECONDS = 3.0
TICK_SECONDS = 0.25
ASK_SECONDS = 1.0
PROMOTE_SECONDS = 30

_STANDBYS = """
    SELECT application_name, coalesce(sync_state, '') IN ('sync', 'quorum'),
           coalesce(flush_lsn - '0/0'::pg_lsn, 0), pg_current_wal_flush_lsn() - '0/0'::pg_lsn
    FROM pg_stat_replication WHERE state = 'streaming'
"""
_RECEIVED = "SELECT coalesce(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn()) - '0/0'::pg_lsn"

log = structlog.get_logger()


@dataclass
class Record:
    """What has to survive everything: who leads, and on whom every acknowledged commit is.

    Each acknowledged commit is on the primary and on at least one of `confirming`. Empty means
    that commits are (or were) acknowledged by the primary alone: nobody may succeed it by itself.
    """

    file: Path
    primary: str
    confirming: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, file: Path, first: str) -> "Record":
        """What the file says; without one, `first` leads alone."""
        known = read_json(file) or {"primary": first, "confirming": []}
        return cls(file, known["primary"], known["confirming"])

    def change(self, *, primary: str | None = None, confirming: Collection[str]) -> None:
        """Write down, before it becomes true or after it has ceased to be; see Cluster."""
        self.primary = primary or self.primary
        self.confirming = sorted(confirming)
        write_json(self.file, {"primary": self.primary, "confirming": self.confirming})


class Cluster:
    """A primary and its standbys.

    While the primary lives, its commits wait for any one standby that streams; when none does for
    DEGRADE_SECONDS, they go on without, and so long nobody takes over. When the primary's process
    ends, its keeper asks `before_start`: that is when the standby with the newest log is promoted,
    so that the old primary is dead by then, and starts again as a standby. A primary that is
    silent is killed first.

    Args:
        nodes: all servers; the first one leads in the beginning.
        file: where the record is kept.
    """

    def __init__(self, nodes: Sequence[Node], file: Path) -> None:
        self.nodes = {node.name: node for node in nodes}
        self.record = Record.load(file, nodes[0].name)
        self.promotions = 0
        self._settled = False
        self._request = file.with_name("promote")
        self._wanted: frozenset[str] = frozenset()
        self._caught_up_at: int | None = None
        self._lacking_since: float | None = None
        self._silent_since: float | None = None

    @property
    def primary(self) -> Node:
        """Who leads."""
        return self.nodes[self.record.primary]

    @property
    def standbys(self) -> list[Node]:
        """All others."""
        return [node for node in self.nodes.values() if node is not self.primary]

    def url(self, database: str = "postgres") -> str:
        """The superuser's URL of whoever leads, now and later."""
        account = self.primary.superuser_url.partition("@")[0]
        hosts = ",".join(f"{HOST}:{node.port}" for node in self.nodes.values())
        return f"{account}@{hosts}/{database}?target_session_attrs=read-write"

    async def before_start(self, node: Node) -> None:
        """Give a node whose process is not running its part, after a succession if it led."""
        await asyncio.to_thread(end_all_in, node.directory)
        if node is self.primary and self._settled:
            await self._succeed()
        if node is self.primary:
            self.record.change(confirming=())
            self._wanted = frozenset()
            await asyncio.to_thread(node.prepare_to_lead)
        else:
            anew = not self._settled
            await asyncio.to_thread(node.prepare_to_follow, self.primary, anew=anew)

    async def watch(self) -> None:
        """Look after the primary until cancelled."""
        self._settled = True
        while True:
            await self._tick()
            await asyncio.sleep(TICK_SECONDS)

    async def _tick(self) -> None:
        now = asyncio.get_running_loop().time()
        try:
            standbys = await ask(self.primary, _STANDBYS)
        except (psycopg.Error, TimeoutError, OSError):
            self._silent_since = self._silent_since or now
            if now - self._silent_since > SILENCE_SECONDS and await self._heir():
                log.warning("primary is silent", node=self.primary.name)
                await asyncio.to_thread(end_all_in, self.primary.directory)
            return
        self._silent_since = None
        await self._arrange(standbys, now)
        if self._request.exists() and self.record.confirming:
            self._request.unlink()
            # It sends its standbys everything before it ends; then its keeper asks what to start.
            stop(self.primary.directory)

    async def _arrange(self, standbys: Sequence[tuple[Any, ...]], now: float) -> None:
        """Let commits wait for the standbys that are there, and note when they have everything."""
        streaming = frozenset(name for name, *_ in standbys if name in self.nodes)
        if streaming == self._wanted:
            self._lacking_since = None
            self._note_confirming(standbys)
            return
        if self._wanted - streaming:
            self._lacking_since = self._lacking_since or now
            if now - self._lacking_since < DEGRADE_SECONDS:
                return
        if self.record.confirming:
            both = streaming.union(self.record.confirming) if streaming else ()
            self.record.change(confirming=both)
        log.info("commits wait for", standbys=sorted(streaming))
        await asyncio.to_thread(self.primary.wait_for, streaming)
        await ask(self.primary, "SELECT pg_reload_conf()")
        self._wanted, self._caught_up_at, self._lacking_since = streaming, None, None

    def _note_confirming(self, standbys: Sequence[tuple[Any, ...]]) -> None:
        """Once all that was acknowledged without a standby is on them too, they may succeed."""
        if not self._wanted or self._wanted == frozenset(self.record.confirming):
            return
        if self._caught_up_at is None:
            if all(synchronous for _, synchronous, *_ in standbys):
                self._caught_up_at = max(flushed for *_, flushed in standbys)
        elif all(has >= self._caught_up_at for _, _, has, _ in standbys):
            self.record.change(confirming=self._wanted)
            log.info("may succeed", standbys=sorted(self._wanted))

    async def _succeed(self) -> None:
        """Promote the standby with the newest log, if one has all that was acknowledged."""
        heir = await self._heir()
        if heir is None:
            return
        log.warning("promoting", node=heir.name, instead_of=self.primary.name)
        self.record.change(primary=heir.name, confirming=())
        self._wanted, self._silent_since = frozenset(), None
        self.promotions += 1
        # Should it fail, its own keeper starts it as the primary that the record says it is.
        with suppress(psycopg.Error, TimeoutError, OSError):
            await ask(heir, f"SELECT pg_promote(true, {PROMOTE_SECONDS})", PROMOTE_SECONDS)

    async def _heir(self) -> Node | None:
        """Of the standbys that confirm commits, the one that has most; None if one is unheard.

        Any one of them may be the only one that has a commit.
        """
        received: list[tuple[int, str]] = []
        for name in self.record.confirming:
            try:
                ((position,),) = await ask(self.nodes[name], _RECEIVED)
            except (psycopg.Error, TimeoutError, OSError):
                return None
            received.append((position, name))
        return self.nodes[max(received)[1]] if received else None


async def ask(node: Node, query: str, seconds: float = ASK_SECONDS) -> list[tuple[Any, ...]]:
    """The rows of a query on one node, in time or not at all."""
    async with asyncio.timeout(seconds):
        connecting = psycopg.AsyncConnection.connect(node.superuser_url, autocommit=True)
        async with await connecting as connection:
            return await (await connection.execute(query.encode())).fetchall()


def stop(directory: Path) -> None:
    """Ask the server of a cluster's directory to end in order."""
    pid = int((directory / "postmaster.pid").read_text().split()[0])
    os.kill(pid, signal.SIGINT)


def end_all_in(directory: Path) -> None:
    """Kill every process of a cluster's directory, and return when none is left.

    Backends outlive a killed server for a moment: until they are gone it may still write.
    """
    while family := [process for process in psutil.process_iter() if _is_in(process, directory)]:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.01)


def _is_in(process: psutil.Process, directory: Path) -> bool:
    try:
        return Path(process.cwd()) == directory
    except (psutil.Error, OSError):
        return False
