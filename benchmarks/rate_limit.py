"""Three limits on each request: one call of ours against three of the package `limits`."""

import statistics
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import uvloop
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter

from benchmarks.figures import Figure, at_least, rounds, seen
from benchmarks.load import Load, measure
from common.rate_limit import Bucket, RateLimiter
from common.redis_clients import Role, open_redis
from common.settings import load_settings
from ops.valkey import EmbeddedValkey

CLIENTS = 50
REQUESTS = 5_000
ROUNDS = 3
_USERS = 200
# High enough that everything is let in: a refusal of ours may not even ask Redis.
_LIMIT = 10_000
_TENANT = "rate_limit:tenant:bench"
_ROUTE = "/api/v1/orders/{id}"


@dataclass(frozen=True)
class RateLimits:
    """What both reached, in alternating rounds on one server."""

    ours: list[Load]
    limits: list[Load]

    @property
    def ratio(self) -> float:
        """Our requests a second to those of `limits`, by medians."""
        return _median(self.ours) / _median(self.limits)


def run() -> RateLimits:
    """Measure on a Valkey of its own."""
    with tempfile.TemporaryDirectory() as scratch, EmbeddedValkey(Path(scratch)) as valkey:
        return uvloop.run(_alternate(valkey.url))


async def _alternate(url: str) -> RateLimits:
    async with open_redis(load_settings({"REDIS_URL": url}), Role.LIMITS) as redis:
        ours, theirs = _ours(RateLimiter(redis)), _theirs(url)
        for work in (ours, theirs):
            await measure(CLIENTS, work, 500)
        rounds = [
            (await measure(CLIENTS, ours, REQUESTS), await measure(CLIENTS, theirs, REQUESTS))
            for _ in range(ROUNDS)
        ]
    return RateLimits(*map(list, zip(*rounds, strict=True)))


def _ours(limiter: RateLimiter) -> Callable[[int], Awaitable[None]]:
    turn = iter(range(1_000_000_000))

    async def take(client: int) -> None:
        user, ip, tenant = f"u-{next(turn) % _USERS}", f"10.0.0.{client}", "bench"
        verdict = await limiter.take(
            (
                Bucket(
                    "user", f"rate_limit:tenant:{tenant}:user:{user}:route:{_ROUTE}", _LIMIT, 60
                ),
                Bucket("address", f"rate_limit:tenant:{tenant}:ip:{ip}:route:{_ROUTE}", _LIMIT, 60),
                Bucket("tenant", f"rate_limit:tenant:{tenant}", 1_000_000, 60),
            )
        )
        assert verdict.taken

    return take


def _theirs(url: str) -> Callable[[int], Awaitable[None]]:
    storage = RedisStorage(f"async+{url}", implementation="redispy")
    limiter, turn = MovingWindowRateLimiter(storage), iter(range(1_000_000_000))
    usual, tenants = RateLimitItemPerMinute(_LIMIT), RateLimitItemPerMinute(1_000_000)

    async def take(client: int) -> None:
        user, ip = f"u-{next(turn) % _USERS}", f"10.0.0.{client}"
        assert await limiter.hit(usual, "user", user, _ROUTE)
        assert await limiter.hit(usual, "ip", ip, _ROUTE)
        assert await limiter.hit(tenants, "tenant")

    return take


def _median(loads: list[Load]) -> float:
    return statistics.median(load.per_second for load in loads)


def figures() -> list[Figure]:
    """What was measured, beside what was promised."""
    measured = run()
    both = (("ours", measured.ours), ("limits", measured.limits))
    return [
        at_least("three limits in a call, a second, in times of `limits`", measured.ratio, 2.5),
        *(
            seen(f"{name}: a second, by round", rounds(load.per_second for load in loads))
            for name, loads in both
        ),
        *(
            seen(f"{name}: p99 in ms, by round", rounds(load.p99_ms for load in loads))
            for name, loads in both
        ),
    ]


if __name__ == "__main__":
    for figure in figures():
        print(figure.row())
