"""Passwords: Argon2id (RFC 9106), a few at a time, since each takes 64 MiB."""

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher

_hasher = PasswordHasher()
# Argon2 lets go of the interpreter while it works, so threads are enough.
_pool = ThreadPoolExecutor(2, "argon2")


async def hash_password(password: str) -> str:
    """The hash to store, with its salt and parameters inside."""
    return await asyncio.get_running_loop().run_in_executor(_pool, _hasher.hash, password)


def random_password() -> str:
    """A password of 144 bits."""
    return secrets.token_urlsafe(18)
