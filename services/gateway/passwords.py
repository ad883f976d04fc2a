"""Passwords: Argon2id (RFC 9106), a few at a time, since each takes 64 MiB."""

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from gateway.errors import TooManyAtOnce

__all__ = ["Passwords", "random_password"]

Result = TypeVar("Result")


class Passwords:
    """Hashes and checks passwords, off the event loop.

    Args:
        hasher: with the parameters of new hashes; old ones keep theirs until the next login.
        threads: how many are worked on at the same time.
        most_waiting: how many may wait for that; more are turned away at once.
    """

    def __init__(
        self, hasher: PasswordHasher | None = None, threads: int = 2, most_waiting: int = 64
    ) -> None:
        self._hasher = hasher or PasswordHasher()
        # Argon2 lets go of the interpreter while it works, so threads are enough.
        self._pool = ThreadPoolExecutor(threads, "argon2")
        self._room = threads + most_waiting
        # Checked in place of the hash of somebody who does not exist: it fits no password.
        self._nobody = self._hasher.hash(secrets.token_urlsafe(32))

    async def hash(self, password: str) -> str:
        """The hash to store, with its salt and parameters inside.

        Raises:
            TooManyAtOnce: too many wait already.
        """
        return await self._run(lambda: self._hasher.hash(password))

    async def fits(self, stored: str | None, password: str) -> bool:
        """Whether a password is the one of this hash; as much work when there is none.

        Raises:
            TooManyAtOnce: too many wait already.
        """
        return await self._run(lambda: self._fits(stored or self._nobody, password))

    def is_outdated(self, stored: str) -> bool:
        """Whether the hash was made with other parameters than new ones are."""
        return self._hasher.check_needs_rehash(stored)

    def _fits(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._room == 0:
            raise TooManyAtOnce
        self._room -= 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._room += 1


def random_password() -> str:
    """A password of 144 bits."""
    return secrets.token_urlsafe(18)
