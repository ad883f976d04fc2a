"""Every request against the budgets of whoever sends it, and the headers that tell of them."""

import math
import time
from collections.abc import Sequence
from functools import lru_cache

from common.rate_limit import Bucket, RateLimited, RateLimiter, Verdict
from gateway.answers import Headers
from gateway.client_address import address_of
from gateway.credentials import Client
from gateway.http_request import HttpRequest
from gateway.plans import WINDOW_SECONDS, Plans

__all__ = ["RequestLimits", "uncounted"]

# What the headers say when there is no limit: they hold numbers, whatever the plan.
_UNLIMITED = Bucket("unmetered", "", 1_000_000_000, WINDOW_SECONDS)


class RequestLimits:
    """Lets requests in as often as their clients' plans allow.

    Args:
        limiter: counts.
        plans: what is allowed.
        trusted_proxies: how many proxies before us are ours.
    """

    def __init__(self, limiter: RateLimiter, plans: Plans, trusted_proxies: int = 0) -> None:
        self._limiter = limiter
        self._plans = plans
        self._trusted_proxies = trusted_proxies

    async def take(
        self, request: HttpRequest, client: Client | None, template: str, cost: int
    ) -> None:
        """Count a request; its answer tells of the budget, whatever it is.

        Args:
            request: what was sent.
            client: who sent it; None when nobody known did: its address counts.
            template: the path of its route.
            cost: how much it weighs.

        Raises:
            RateLimited: there is no budget left for it.
        """
        address = address_of(request.peer, request.forwarded_for, self._trusted_proxies)
        request.address = address
        buckets = self._plans.buckets(client, address, template)
        if not buckets:
            request.rate_headers = uncounted()
            return
        verdict = await self._limiter.take(buckets, cost)
        request.rate_headers = _headers(buckets, verdict)
        if not verdict.taken:
            raise RateLimited.by(verdict)


def uncounted() -> Headers:
    """The headers of an answer that no budget had to pay for."""
    free = Verdict(True, _UNLIMITED, _UNLIMITED.limit, time.time(), 0.0, 0.0)
    return _headers((_UNLIMITED,), free)


def _headers(buckets: Sequence[Bucket], verdict: Verdict) -> Headers:
    """The customary X-RateLimit-*, and RateLimit and RateLimit-Policy.

    Source: draft-ietf-httpapi-ratelimit-headers-10, where t is the seconds until there is more.
    """
    bucket, left = verdict.bucket, verdict.remaining
    policies = _policies(tuple((one.name, one.limit, one.window_seconds) for one in buckets))
    state = f'"{bucket.name}";r={left};t={math.ceil(verdict.more_after_seconds)}'
    return (
        (b"x-ratelimit-limit", b"%d" % bucket.limit),
        (b"x-ratelimit-remaining", b"%d" % left),
        (b"x-ratelimit-reset", b"%d" % math.ceil(verdict.reset)),
        (b"ratelimit", state.encode()),
        (b"ratelimit-policy", policies),
    )


@lru_cache(maxsize=256)
def _policies(budgets: tuple[tuple[str, int, float], ...]) -> bytes:
    """What clients are told of their budgets: the same for all on one plan."""
    return ", ".join(f'"{name}";q={limit};w={span:g}' for name, limit, span in budgets).encode()
