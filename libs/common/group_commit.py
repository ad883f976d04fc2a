"""Commands of one tenant that arrive together share a transaction."""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import Context
from dataclasses import dataclass, field, replace
from typing import Generic, TypeVar
from uuid import UUID

from prometheus_client import Histogram

from common import caller, consistency, idempotency, origin, rehearsal, tracing
from common.audit_authors import put_down
from common.caller import Caller
from common.consistency import Positions, Reading
from common.database import Database, Transaction
from common.deadline import DeadlineExceeded
from common.errors import DomainError, OutcomeUnknown, Unavailable
from common.idempotency import KeyedRequest, each_once
from common.origin import Author

_SIZE = Histogram(
    "kv_erp_group_commands",
    "Commands that shared a transaction.",
    ["decide"],
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 200),
)
_WAITED = Histogram(
    "kv_erp_group_wait_seconds",
    "How long a group's first command waited for its transaction to begin.",
    ["decide"],
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)

Command = TypeVar("Command")
Outcome = TypeVar("Outcome")

# Decides the commands in the order in which they came; each gets its own outcome or its own error.
Decide = Callable[[Transaction, Sequence[Command]], Awaitable[Sequence[Outcome | DomainError]]]
# Looks up, outside any transaction, what the commands refer to in other services.
Prepare = Callable[[Sequence[Command]], Awaitable[Sequence[Command | DomainError]]]


@dataclass
class _Member(Generic[Command, Outcome]):
    command: Command
    came: float
    outcome: asyncio.Future[Outcome]
    # Under which name its caller will repeat it.
    request: KeyedRequest | None
    reading: Reading | None
    author: Author
    # Which request's it is, and in which trace.
    request_id: str
    traceparent: str
    # What its group has written.
    written: Positions = field(default_factory=dict)


class GroupCommit(Generic[Command, Outcome]):
    """Runs commands in shared transactions: what waits when one ends forms the next.

    There is no timer: a lone command starts at once. A hot row is locked once for the whole group
    instead of once for each command, and its commit is paid once. If the shared transaction fails,
    its members run one by one, so that nobody fails for another's sake.

    Args:
        database: where the transactions run.
        decide: does the work of a group and answers for each command, in order.
        prepare: completes the commands before the transaction; a command may turn into its error
            here.
        largest: most commands in one group.
        read_only: whether the commands only read.
    """

    def __init__(
        self,
        database: Database,
        decide: Decide[Command, Outcome],
        *,
        prepare: Prepare[Command] | None = None,
        largest: int = 200,
        read_only: bool = False,
    ) -> None:
        self._transact = database.read if read_only else database.run
        self._read_only = read_only
        self._decide = decide
        self._prepare = prepare
        self._largest = largest
        name = f"{decide.__module__}.{getattr(decide, '__name__', 'decide')}"
        self._size, self._waited = _SIZE.labels(name), _WAITED.labels(name)
        self._waiting: dict[UUID, deque[_Member[Command, Outcome]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, command: Command) -> Outcome:
        """Run one command for the caller at hand.

        Raises:
            DomainError: the command's own error.
        """
        me = caller.current()
        if me.tenant_id is None:
            raise Unavailable("The tenant")
        if rehearsal.current() is not None and not self._read_only:
            return await self._rehearse(command)
        request = None if self._read_only else idempotency.current()
        member: _Member[Command, Outcome] = _Member(
            command,
            time.perf_counter(),
            asyncio.get_running_loop().create_future(),
            request,
            consistency.current_reading(),
            origin.author(),
            me.request_id,
            tracing.traceparent_for(me.request_id),
        )
        if me.tenant_id in self._waiting:
            self._waiting[me.tenant_id].append(member)
        else:
            self._waiting[me.tenant_id] = deque([member])
            # A context of its own: the group outlives the request that happened to start it, and
            # its deadline.
            task = asyncio.get_running_loop().create_task(self._drain(me), context=Context())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            return await member.outcome
        finally:
            consistency.wrote(member.written)

    async def _rehearse(self, command: Command) -> Outcome:
        """Run a command by itself: nobody's effects may be rolled back with it."""
        if self._prepare is not None:
            (prepared,) = await self._prepare([command])
            if isinstance(prepared, DomainError):
                raise prepared
            command = prepared
        (outcome,) = await self._transact(lambda tx: self._decide(tx, [command]))
        if isinstance(outcome, DomainError):
            raise outcome
        return outcome

    async def _drain(self, starter: Caller) -> None:
        tenant_id = starter.tenant_id
        assert tenant_id is not None
        group_caller = Caller(tenant_id, starter.subject, starter.permissions, starter.actors)
        waiting = self._waiting[tenant_id]
        with caller.acting_as(group_caller):
            while waiting:
                group = [waiting.popleft() for _ in range(min(self._largest, len(waiting)))]
                self._observe(group)
                await self._run_group(group)
        # No await since the queue was seen empty, so nobody can have joined it meanwhile.
        del self._waiting[tenant_id]

    def _observe(self, group: list[_Member[Command, Outcome]]) -> None:
        self._size.observe(len(group))
        # The first came first: nobody else waited longer.
        self._waited.observe(time.perf_counter() - group[0].came)

    async def _run_group(self, group: list[_Member[Command, Outcome]]) -> None:
        written = consistency.collect()
        for member in group:
            member.written = written
        traces = {member.request_id: member.traceparent for member in group}
        reading = consistency.strictest(one.reading for one in group)
        try:
            with consistency.reading(reading), tracing.working_for(traces, tracing.current()):
                ready = await self._prepared(group)
                if ready:
                    await self._commit(ready)
        except (Unavailable, OutcomeUnknown, DeadlineExceeded) as error:
            for member in group:
                _settle(member, error)
        except Exception as error:  # noqa: BLE001 (each member is told; nothing is swallowed)
            if len(group) == 1:
                _settle(group[0], error)
                return
            for member in group:
                if not member.outcome.done():
                    await self._run_group([member])

    async def _prepared(
        self, group: list[_Member[Command, Outcome]]
    ) -> list[_Member[Command, Outcome]]:
        if self._prepare is None:
            return group
        prepared = await self._prepare([member.command for member in group])
        ready = []
        for member, command in zip(group, prepared, strict=True):
            if isinstance(command, DomainError):
                _settle(member, command)
            else:
                ready.append(replace(member, command=command))
        return ready

    async def _commit(self, group: list[_Member[Command, Outcome]]) -> None:
        commands = [member.command for member in group]
        requests = [member.request for member in group]

        authors = [member.author for member in group]

        async def decide(tx: Transaction) -> list[Outcome | Exception]:
            outcomes = await each_once(tx, commands, requests, self._decide)
            if not self._read_only:
                await put_down(tx, authors, outcomes)
            return outcomes

        with origin.on_behalf_of(authors):
            outcomes = await self._transact(decide)
        for member, outcome in zip(group, outcomes, strict=True):
            _settle(member, outcome)


def _settle(member: _Member[Command, Outcome], outcome: Outcome | Exception) -> None:
    if member.outcome.done():
        return  # nobody waits any more
    if isinstance(outcome, Exception):
        member.outcome.set_exception(outcome)
    else:
        member.outcome.set_result(outcome)
