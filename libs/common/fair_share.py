"""One tenant's share of a process, so that the others always find room in it."""

import asyncio
import time
from collections import Counter as Count
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from uuid import UUID

from prometheus_client import Counter, Gauge, Histogram

from common import deadline
from common.caller import Caller
from common.errors import DomainError, StatusCode, Unavailable

__all__ = ["Calls", "Places", "TooManyCalls"]

# Without a deadline nobody waits longer for a place.
_LONGEST_WAIT_SECONDS = 5.0
# What no tenant may take from all the others.
_KEPT_FREE = 2
_SEVERAL = 2
# A tenant counts as there for so long after it last asked.
_PRESENT_SECONDS = 10.0

_REFUSED = Counter(
    "kv_erp_tenant_calls_refused_total", "Calls over a tenant's share of a process.", ["service"]
)
_WAITING = Gauge("kv_erp_database_waiting", "Transactions that wait for their turn.")
_WAITED = Histogram(
    "kv_erp_database_turn_wait_seconds",
    "How long transactions waited for their turn, those that had to wait.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5),
)


@dataclass(eq=False)
class TooManyCalls(DomainError):
    """As many calls of this tenant are being worked on as one may have; nothing was done: 429."""

    status = StatusCode.RESOURCE_EXHAUSTED
    detail = "{most} requests of yours are being worked on at this moment. Try again."
    retry_after_seconds = 0.2

    most: int


class Calls:
    """How many calls of each tenant are being worked on.

    Args:
        service: the name that metrics carry.
        most: how many one tenant may have here at the same time.
    """

    def __init__(self, service: str, most: int) -> None:
        self._refused = _REFUSED.labels(service)
        self._most = most
        self._running: Count[UUID] = Count()

    @contextmanager
    def one_of(self, caller: Caller) -> Iterator[None]:
        """Work on a call.

        What a service asks on its own account is not counted: it ends what others wait for.

        Raises:
            TooManyCalls: the caller's tenant has its share already.
        """
        tenant = caller.tenant_id
        if tenant is None or caller.is_service:
            yield
            return
        if self._running[tenant] >= self._most:
            self._refused.inc()
            raise TooManyCalls(self._most)
        self._running[tenant] += 1
        try:
            yield
        finally:
            self._running[tenant] -= 1
            if not self._running[tenant]:
                del self._running[tenant]


class Places:
    """A fixed number of places for work, all but two of which one tenant may hold.

    A tenant's work gets its places in the order in which it asked; of several tenants that wait,
    each gets a place in turn, however much the others have waiting.

    Args:
        places: how many there are.
        most_beside_others: how many one tenant may hold while there are others, if that is less.
        waiting: counts who waits for one.
        waited: told how long they did.
        full: what is raised to whom waited too long.
    """

    def __init__(
        self,
        places: int,
        most_beside_others: int | None = None,
        waiting: Gauge = _WAITING,
        waited: Histogram = _WAITED,
        full: Callable[[], DomainError] = partial(Unavailable, "The database"),  # noqa: B008 (a constant)
    ) -> None:
        self._free = places
        self._most_alone = max(places - _KEPT_FREE, 1)
        self._most_beside_others = min(most_beside_others or places, self._most_alone)
        self._waiters, self._waited = waiting, waited
        self._full = full
        self._held: Count[UUID] = Count()
        # When each tenant last asked, the latest last.
        self._asked: OrderedDict[UUID, float] = OrderedDict()
        # In the order in which the tenants have their turn.
        self._waiting: OrderedDict[UUID, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def one_for(self, tenant: UUID) -> AsyncIterator[None]:
        """Hold a place while inside; waits for one until the deadline, or 5 s at most.

        Raises:
            DomainError: there was none in that time: `full`, by default Unavailable.
        """
        if self._free and self._held[tenant] < self._most_for(tenant):
            self._give(tenant)
        else:
            await self._wait(tenant)
        try:
            yield
        finally:
            self._take_back(tenant)

    def _most_for(self, tenant: UUID) -> int:
        """How many places a tenant that asks now may hold."""
        now = time.monotonic()
        self._asked[tenant] = now
        self._asked.move_to_end(tenant)
        while next(iter(self._asked.values())) < now - _PRESENT_SECONDS:
            self._asked.popitem(last=False)
        return self._most

    @property
    def _most(self) -> int:
        return self._most_alone if len(self._asked) < _SEVERAL else self._most_beside_others

    async def _wait(self, tenant: UUID) -> None:
        place = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(tenant, deque()).append(place)
        self._waiters.inc()
        asked = time.monotonic()
        try:
            async with asyncio.timeout(
                min(deadline.remaining(_LONGEST_WAIT_SECONDS), _LONGEST_WAIT_SECONDS)
            ):
                await place
        except BaseException as error:
            if place.done() and not place.cancelled():
                self._take_back(tenant)
            if isinstance(error, TimeoutError):
                raise self._full() from None
            raise
        finally:
            self._waiters.dec()
            self._waited.observe(time.monotonic() - asked)

    def _give(self, tenant: UUID) -> None:
        self._free -= 1
        self._held[tenant] += 1

    def _take_back(self, tenant: UUID) -> None:
        self._free += 1
        self._held[tenant] -= 1
        if not self._held[tenant]:
            del self._held[tenant]
        self._give_to_next()

    def _give_to_next(self) -> None:
        """Give a free place to the first waiting tenant that may have one more."""
        for tenant in list(self._waiting):
            if self._held[tenant] < self._most and (place := self._next_of(tenant)):
                self._give(tenant)
                place.set_result(None)
                return

    def _next_of(self, tenant: UUID) -> asyncio.Future[None] | None:
        """The tenant's first that still waits; its next turn comes after all others'."""
        waiting = self._waiting.pop(tenant)
        place = None
        while waiting and place is None:
            first = waiting.popleft()
            place = None if first.done() else first
        if waiting:
            self._waiting[tenant] = waiting
        return place
