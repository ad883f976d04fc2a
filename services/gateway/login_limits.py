"""How often somebody may guess, and why nobody can lock another out for good.

Failures are counted for the address, and for the account. A browser in which the user has logged in
before carries a sealed cookie and is counted by itself, not with strangers: an attacker who uses up
what an account allows strangers locks out new browsers, while the attack lasts, and no known one.
Source: OWASP, "Slow down online guessing attacks with device cookies".
"""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from common.rate_limit import Bucket, RateLimited, RateLimiter
from common.sealing import Seal

__all__ = ["LoginLimits", "Visit"]

WINDOW_SECONDS = 900
FROM_ADDRESS = 100
ON_ACCOUNT = 10
# Redis may take longer than for other limits: checking a password does too.
ANSWER_SECONDS = 1.0
# In a Cluster the windows of one guess have to lie together.
_PREFIX = "rate_limit:{login}"


@dataclass(frozen=True)
class Visit:
    """From where somebody comes to the door."""

    address: str
    # The browser's own words, and what its device cookie holds.
    agent: str = ""
    device: str = ""
    # The token of the session that it had until now.
    session: str = ""

    @property
    def about(self) -> str:
        """Where a session was begun, for its user."""
        return f"{self.agent or 'unknown program'} at {self.address}"


class LoginLimits:
    """Counts guesses, in Redis only: without it nobody logs in.

    Args:
        limiter: counts.
        seal: makes device cookies that nobody can forge.
    """

    def __init__(self, limiter: RateLimiter, seal: Seal) -> None:
        self._limiter = limiter
        self._seal = seal

    async def take(self, account: str, visit: Visit) -> Sequence[Bucket]:
        """Count a guess, before it is looked at; what to give back when it was none.

        Raises:
            RateLimited: there were too many.
            Unavailable: Redis is away.
        """
        device = self._device(account, visit.device)
        guesses = ("device", device) if device else ("account", _digest(account))
        buckets = [
            _bucket("address", visit.address, FROM_ADDRESS),
            _bucket(*guesses, ON_ACCOUNT),
        ]
        return await self._take(buckets)

    async def take_from(self, visit: Visit) -> Sequence[Bucket]:
        """Count a guess at something that is no account's; otherwise as `take`."""
        return await self._take([_bucket("address", visit.address, FROM_ADDRESS)])

    async def give_back(self, buckets: Sequence[Bucket]) -> None:
        """Let a guess that was right count for nothing."""
        await self._limiter.give_back(buckets)

    def device_of(self, account: str) -> str:
        """A new device cookie's value, for a browser in which this account has logged in."""
        name = secrets.token_bytes(16)
        return base64.urlsafe_b64encode(self._seal.close(name, _purpose(account))).decode()

    async def _take(self, buckets: Sequence[Bucket]) -> Sequence[Bucket]:
        verdict = await self._limiter.take_shared(buckets)
        if not verdict.taken:
            raise RateLimited.by(verdict)
        return buckets

    def _device(self, account: str, cookie: str) -> str | None:
        try:
            sealed = base64.urlsafe_b64decode(cookie.encode("ascii"))
        except ValueError:
            return None
        name = self._seal.open(sealed, _purpose(account))
        return name.hex() if name else None


def _bucket(name: str, key: str, limit: int) -> Bucket:
    return Bucket(name, f"{_PREFIX}:{name}:{key}", limit, WINDOW_SECONDS)


def _purpose(account: str) -> bytes:
    return b"device" + hashlib.sha256(account.encode()).digest()


def _digest(account: str) -> str:
    # What somebody typed, which may be a password in the wrong field, is not for Redis to keep.
    return hashlib.sha256(account.encode()).hexdigest()[:32]
