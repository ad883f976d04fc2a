"""Brings a service's database to the newest schema: Alembic, run by the owner role."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alembic import command, context
from alembic.config import Config
from sqlalchemy import Connection, MetaData, create_engine, pool, text

from common.database_urls import driver_url

# Whoever waits for a table makes everybody behind it wait: rather try again later.
LOCK_TIMEOUT = "10s"
# Any constant: it names the lock that lets one migration run at a time in a database.
_LOCK = 7_316_401
_TAKE_TURN = text("SELECT pg_try_advisory_xact_lock(:lock)")
_HOLD_TURN = text("SET LOCAL idle_in_transaction_session_timeout = 0")
_TURN_POLL_SECONDS = 0.1


def migrate(folder: Path, url: str) -> None:
    """Apply all migrations of `folder`, a service's migrations/, that the database lacks."""
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["url"] = url
    command.upgrade(config, "head")


def run_environment(metadata: MetaData) -> None:
    """What a service's migrations/env.py does: each revision in a transaction, under a lock."""
    engine = create_engine(driver_url(context.config.attributes["url"]), poolclass=pool.NullPool)
    with engine.connect() as turn, _alone(turn), engine.connect() as connection:
        connection.execute(text(f"SET lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.commit()
        context.configure(
            connection=connection, target_metadata=metadata, transaction_per_migration=True
        )
        with context.begin_transaction():
            context.run_migrations()
    engine.dispose()


@contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold the lock that lets one migration run at a time, by a transaction that does nothing else.

    It is tried, not waited for: an index that is made CONCURRENTLY waits for all who have a
    statement under way, so they would wait for each other.
    """
    while not connection.scalar(_TAKE_TURN, {"lock": _LOCK}):
        connection.rollback()
        time.sleep(_TURN_POLL_SECONDS)
    # It also ends the statement before, which lasts until the next one.
    connection.execute(_HOLD_TURN)
    try:
        yield
    finally:
        connection.rollback()
