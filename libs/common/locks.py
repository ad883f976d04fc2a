"""Locks on Redis that keep processes out of each other's way before they meet in the database.

They make waiting cheap and fair; they are not what makes anything correct. Row locks and
constraints are, so work goes on when Redis is away, and what has effects outside the database
needs a fence from the database (the `attempt` of a job).
"""

import asyncio
import itertools
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar
from uuid import UUID

import structlog
from prometheus_client import Counter, Histogram
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from common import caller, deadline, keys
from common.errors import Unauthenticated
from common.held_locks import Lock, LockLost, LockTimeout, holding
from common.lock_leftovers import Leftovers
from common.lock_scripts import CLAIM_SECONDS, LockScripts
from common.lock_wakeups import Wakeups, is_set_within

__all__ = ["Lock", "LockLost", "LockTimeout", "Locks", "account_resource", "stock_resource"]

# A half-open Redis costs a request no more than this.
ANSWER_SECONDS = 0.1
# Wakeups can be lost and Redis flushed, so who waits looks again after this time.
_LOOK_AGAIN_SECONDS = 0.5
_AWAY = (RedisError, OSError, TimeoutError)

_LOCKS = Counter(
    "kv_erp_locks_total", "Locks asked for: held, timeout or without_redis.", ["outcome"]
)
_HELD, _TIMEOUT, _WITHOUT = map(_LOCKS.labels, ("held", "timeout", "without_redis"))
_LOST = Counter("kv_erp_locks_lost_total", "Locks that ended before their work did.")

_WAITED = Histogram(
    "kv_erp_lock_wait_seconds",
    "How long locks were waited for, whether in vain or not.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
)
_HELD_FOR = Histogram(
    "kv_erp_lock_hold_seconds",
    "How long locks were held.",
    buckets=(0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)

Result = TypeVar("Result")
log = structlog.get_logger()


def stock_resource(product_id: UUID, warehouse_id: UUID) -> str:
    """The name of a product's stock in a warehouse."""
    return f"stock:{product_id}:{warehouse_id}"


def account_resource(account_id: UUID) -> str:
    """The name of an account of the ledger."""
    return f"account:{account_id}"


class Locks:
    """The locks of one process: built once, closed in the end.

    Args:
        redis: where the locks are; its owner closes it.
        owner_name: the process, to be read in Redis: "inventory-worker".
        answer_seconds: Redis is away when it takes longer than this to answer.
    """

    def __init__(
        self, redis: Redis, owner_name: str, answer_seconds: float = ANSWER_SECONDS
    ) -> None:
        self._channel = keys.system_key("lock_wakeups", owner_name, secrets.token_hex(16))
        self._numbers = itertools.count(1)
        self._answer_seconds = answer_seconds
        self._scripts = LockScripts(redis, answer_seconds)
        self._wakeups = Wakeups(redis, self._channel)
        self._leftovers = Leftovers(self._scripts.release)
        self._renewing: dict[Lock, asyncio.Task[None] | asyncio.TimerHandle] = {}

    @asynccontextmanager
    async def hold(
        self,
        *resources: str,
        wait_seconds: float = 10.0,
        ttl_seconds: float = 30.0,
        system_wide: bool = False,
    ) -> AsyncIterator[Lock]:
        """Hold resources of the caller's tenant while what is inside goes on.

        Takes them in one order, whatever order they are named in, so nobody deadlocks. Renewed
        while it is held. A transaction inside refuses to commit once the lock is lost.

        Args:
            resources: what to lock, such as "period:2026-11".
            wait_seconds: at most so long, and never past the request's deadline; 0: not at all.
            ttl_seconds: when Redis frees it if this process dies.
            system_wide: belongs to no tenant.

        Raises:
            LockTimeout: others held it for so long; nothing was done.
        """
        lock = await self.acquire(
            *resources,
            wait_seconds=wait_seconds,
            ttl_seconds=ttl_seconds,
            system_wide=system_wide,
        )
        began = time.monotonic()
        try:
            with holding(lock):
                yield lock
        finally:
            if lock.held:
                _HELD_FOR.observe(time.monotonic() - began)
            await self.release(lock)

    def stock_lock(self, product_id: UUID, warehouse_id: UUID) -> AbstractAsyncContextManager[Lock]:
        """Hold a product's stock in a warehouse: waits 5 s, lives 10 s beyond a crash."""
        resource = stock_resource(product_id, warehouse_id)
        return self.hold(resource, wait_seconds=5.0, ttl_seconds=10.0)

    def account_lock(self, account_id: UUID) -> AbstractAsyncContextManager[Lock]:
        """Hold an account of the ledger: waits 10 s, lives 30 s beyond a crash."""
        return self.hold(account_resource(account_id))

    async def execute_with_lock(
        self,
        resource: str,
        work: Callable[[], Awaitable[Result]],
        *,
        wait_seconds: float = 10.0,
        ttl_seconds: float = 30.0,
    ) -> Result:
        """What `work` returns, done while the resource is held."""
        async with self.hold(resource, wait_seconds=wait_seconds, ttl_seconds=ttl_seconds):
            return await work()

    async def acquire(
        self,
        *resources: str,
        wait_seconds: float = 10.0,
        ttl_seconds: float = 30.0,
        system_wide: bool = False,
    ) -> Lock:
        """As `hold`, for who cannot use a block; must be followed by `release`."""
        lock = self._lock(resources, ttl_seconds, system_wide)
        asked = time.monotonic()
        try:
            await self._take(lock, wait_seconds)
        except _AWAY as error:
            # What was asked may have been done although nobody said so.
            self._leftovers.add(lock)
            _WITHOUT.inc()
            log.info("working without a lock", resources=lock.resources, error=repr(error))
        except LockTimeout:
            await self._give_up(lock)
            _TIMEOUT.inc()
            raise
        except BaseException:
            self._leftovers.add(lock)
            raise
        finally:
            _WAITED.observe(time.monotonic() - asked)
        return lock

    async def release(self, lock: Lock) -> None:
        """Give it to who waits first; harmless when it is not ours any more."""
        self._stop_renewing(lock)
        if lock.held:
            await self._give_up(lock)

    async def renew(self, lock: Lock, ttl_seconds: float | None = None) -> bool:
        """Let a held lock live for its ttl (or this long) from now; False when it was lost.

        Raises:
            RedisError, OSError, TimeoutError: Redis is away; it lives as long as it did.
        """
        ttl_seconds = lock.ttl_seconds if ttl_seconds is None else ttl_seconds
        asked = time.monotonic()
        if not lock.held or lock.lost or not await self._scripts.renew(lock, ttl_seconds):
            lock.taken_away = True
            return False
        lock.expires = asked + ttl_seconds
        return True

    async def leave(self, lock: Lock, seconds: float) -> None:
        """Give it up, but let it bar everybody for so many more seconds."""
        self._stop_renewing(lock)
        if lock.held and seconds > 0:
            try:
                await self.renew(lock, seconds)
            except _AWAY:
                log.info("lock not left", resources=lock.resources)
            lock.held = False

    async def close(self) -> None:
        """Stop renewing and listening."""
        for lock in list(self._renewing):
            self._stop_renewing(lock)
        await self._leftovers.close()
        await self._wakeups.close()

    def _lock(self, resources: tuple[str, ...], ttl_seconds: float, system_wide: bool) -> Lock:
        if not resources or any(brace in name for name in resources for brace in "{}"):
            raise ValueError("a lock needs resources, and braces have a meaning in a Cluster")
        names = tuple(sorted(set(resources)))
        token = f"{self._channel}/{next(self._numbers)}"
        if system_wide:
            return Lock(names, tuple(keys.system_key("lock", n) for n in names), token, ttl_seconds)
        tenant_id = caller.current().tenant_id
        if tenant_id is None:
            raise Unauthenticated("The caller stands for no tenant.")
        tenant_keys = tuple(keys.tenant_key("lock", tenant_id, name) for name in names)
        return Lock(names, tenant_keys, token, ttl_seconds)

    async def _take(self, lock: Lock, wait_seconds: float) -> None:
        until = time.monotonic() + min(wait_seconds, deadline.remaining(wait_seconds))
        with self._wakeups.expected(lock.token) as woken:
            while busy := await self._ask(lock, may_wait=wait_seconds > 0):
                resource, seconds_to_live = busy
                left = until - time.monotonic()
                if left <= 0:
                    raise LockTimeout(resource)
                if self._wakeups.are_heard:
                    if await is_set_within(woken, min(left, seconds_to_live, _LOOK_AGAIN_SECONDS)):
                        woken.clear()
                    if woken.is_served and len(lock.keys) == 1:
                        self._hold_for_now(lock)
                        return
                else:
                    await self._wakeups.connect(self._answer_seconds)
        lock.held = True
        _HELD.inc()
        self._renew_later(lock, lock.ttl_seconds / 3)

    def _hold_for_now(self, lock: Lock) -> None:
        """Work at once under what was handed over; who is done soon needs not confirm it."""
        lock.held = True
        lock.expires = time.monotonic() + CLAIM_SECONDS
        _HELD.inc()
        self._renew_later(lock, CLAIM_SECONDS / 5)

    async def _ask(self, lock: Lock, may_wait: bool) -> tuple[str, float] | None:
        # Asking again with the same token changes nothing, so a broken connection is tried anew.
        for last in (False, True):
            lock.expires = time.monotonic() + lock.ttl_seconds
            try:
                return await self._scripts.ask(lock, may_wait and self._wakeups.are_heard)
            except RedisConnectionError:
                if last:
                    raise
        raise AssertionError("unreachable")

    async def _give_up(self, lock: Lock) -> None:
        try:
            await self._scripts.release(lock)
        except _AWAY:
            self._leftovers.add(lock)
        except BaseException:
            self._leftovers.add(lock)
            raise

    def _renew_later(self, lock: Lock, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._renewing[lock] = loop.call_later(seconds, self._start_renewing, lock)

    def _start_renewing(self, lock: Lock) -> None:
        self._renewing[lock] = asyncio.create_task(self._keep(lock))

    async def _keep(self, lock: Lock) -> None:
        seconds = lock.ttl_seconds / 3
        try:
            kept = await self.renew(lock)
        except _AWAY:
            kept, seconds = not lock.lost, min(seconds, self._answer_seconds)
        if lock not in self._renewing:
            return  # released meanwhile
        if kept:
            self._renew_later(lock, seconds)
        else:
            del self._renewing[lock]
            _LOST.inc()
            log.warning("lock lost", resources=lock.resources)

    def _stop_renewing(self, lock: Lock) -> None:
        renewal = self._renewing.pop(lock, None)
        # One that is under way ends by itself; cancelling it would cost its connection.
        if renewal is not None and not isinstance(renewal, asyncio.Task):
            renewal.cancel()
