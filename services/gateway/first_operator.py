"""`python -m gateway operator`: who can reach the gateway's database becomes an operator."""

import asyncio
import sys

import orjson
import structlog

from common.settings import Settings
from gateway.app import open_database
from gateway.platform import TOKEN_NAME, put_operator_token

__all__ = ["make_operator"]


def make_operator(settings: Settings, name: str = TOKEN_NAME) -> None:
    """Print a token of an operator as JSON; one printed before by this name stops working."""
    # Whoever reads the token from standard output must find nothing else there.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    token = asyncio.run(_make(settings, name))
    sys.stdout.write(orjson.dumps({"token": token}).decode() + "\n")


async def _make(settings: Settings, name: str) -> str:
    database = open_database(settings)
    try:
        return await put_operator_token(database, name)
    finally:
        await database.close()
