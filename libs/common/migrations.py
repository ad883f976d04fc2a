"""Brings a service's database to the newest schema: Alembic, run by the owner role."""

from pathlib import Path

from alembic import command, context
from alembic.config import Config
from sqlalchemy import MetaData, create_engine, pool, text

from common.database_urls import driver_url

# Any constant: it names the lock that lets one migration run at a time in a database.
_LOCK = 7_316_401


def migrate(folder: Path, url: str) -> None:
    """Apply all migrations of `folder`, a service's migrations/, that the database lacks."""
    config = Config()
    config.set_main_option("script_location", str(folder).replace("%", "%%"))
    config.attributes["url"] = url
    command.upgrade(config, "head")


def run_environment(metadata: MetaData) -> None:
    """What a service's migrations/env.py does: run inside one transaction, under a lock."""
    engine = create_engine(driver_url(context.config.attributes["url"]), poolclass=pool.NullPool)
    with engine.connect() as connection:
        context.configure(
            connection=connection, target_metadata=metadata, transaction_per_migration=False
        )
        with context.begin_transaction():
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
            # Whoever waits for a table makes everybody behind it wait: rather try again later.
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
            context.run_migrations()
        connection.commit()
    engine.dispose()
