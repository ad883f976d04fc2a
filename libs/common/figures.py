"""Numbers about a whole service, which its workers read from its tables for Prometheus.

What is counted here survives every restart and is right however many processes there are: each
worker reads the same tables and says the same, so whoever adds them up takes the maximum over
the workers first.
"""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from prometheus_client import REGISTRY
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import text

from common.database import Database
from common.errors import DomainError
from common.health import dependency_up

__all__ = ["SYSTEM_REASON", "Figure", "show"]

SYSTEM_REASON = "figures"
EVERY_SECONDS = 10.0

log = structlog.get_logger()


@dataclass(frozen=True)
class Figure:
    """A number read from tables.

    Args:
        name: of the metric.
        help: what it counts.
        sql: its rows: the labels in their order, then the number. Over all tenants.
        labels: their names, beside `service`.
        only_grows: whether it is a counter.
    """

    name: str
    help: str
    sql: str
    labels: tuple[str, ...] = ()
    only_grows: bool = False


class _Shown(Collector):
    """The figures as they were last read."""

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], tuple[Figure, Sequence[Sequence[Any]]]] = {}

    def put(self, service: str, figure: Figure, rows: Sequence[Sequence[Any]]) -> None:
        self._read[service, figure.name] = figure, rows

    def forget(self, service: str) -> None:
        """Say nothing rather than something old."""
        for key in [key for key in self._read if key[0] == service]:
            del self._read[key]

    def collect(self) -> Iterator[Metric]:
        """A family a figure."""
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for (service, name), (figure, rows) in list(self._read.items()):
            kind = CounterMetricFamily if figure.only_grows else GaugeMetricFamily
            if name not in families:
                families[name] = kind(name, figure.help, labels=("service", *figure.labels))
            for *labels, number in rows:
                families[name].add_metric([service, *map(str, labels)], float(number))
        yield from families.values()


_SHOWN = _Shown()
REGISTRY.register(_SHOWN)


async def show(service: str, database: Database, figures: Sequence[Figure]) -> None:
    """Read the figures every 10 seconds, until cancelled."""
    while True:
        try:
            for figure in figures:
                async with database.system_transaction(SYSTEM_REASON) as connection:
                    rows = (await connection.execute(text(figure.sql))).all()
                _SHOWN.put(service, figure, rows)
            dependency_up("database", up=True)
        except DomainError as error:
            _SHOWN.forget(service)
            dependency_up("database", up=False)
            log.info("figures not read", service=service, error=str(error))
        except Exception:
            _SHOWN.forget(service)
            log.exception("figures not read", service=service)
        await asyncio.sleep(EVERY_SECONDS)


# What every service's database tells of itself.
OF_EVERY_DATABASE = (
    Figure(
        "kv_erp_active_tenants",
        "Tenants in which something happened lately, by how long ago at most.",
        """
        SELECT span.name, count(head.tenant_id)
        FROM (VALUES ('1h', interval '1 hour'), ('24h', interval '24 hours')) AS span (name, time)
             LEFT JOIN event_heads AS head ON head.changed_at > now() - span.time
        GROUP BY span.name
        """,
        ("window",),
    ),
    Figure(
        "kv_erp_events_written_total",
        "Events that the service has written, of all tenants.",
        "SELECT coalesce(sum(sequence), 0) FROM event_heads",
        only_grows=True,
    ),
    Figure(
        "kv_erp_failed_jobs",
        "Events and jobs that were given up and wait for somebody to look at them.",
        "SELECT kind, count(*) FROM failed_jobs GROUP BY kind UNION ALL "
        "SELECT 'event', 0 WHERE NOT EXISTS (SELECT FROM failed_jobs WHERE kind = 'event')",
        ("kind",),
    ),
    Figure(
        "kv_erp_queue_waiting",
        "Jobs that wait for a worker.",
        """
        SELECT queue.name, count(job.id)
        FROM (VALUES ('high'), ('default'), ('low')) AS queue (name)
             LEFT JOIN jobs AS job ON job.queue = queue.name AND job.state = 'ready'
        GROUP BY queue.name
        """,
        ("queue",),
    ),
    Figure(
        "kv_erp_queue_oldest_seconds",
        "How long the job that has waited longest for a worker could have run.",
        """
        SELECT queue.name,
               greatest(0, coalesce(extract(epoch FROM clock_timestamp() - min(job.ready_at)), 0))
        FROM (VALUES ('high'), ('default'), ('low')) AS queue (name)
             LEFT JOIN jobs AS job ON job.queue = queue.name AND job.state = 'ready'
        GROUP BY queue.name
        """,
        ("queue",),
    ),
    Figure(
        "kv_erp_wal_archive_failures_total",
        "Segments of the write-ahead log that PostgreSQL could not archive at first.",
        "SELECT failed_count FROM pg_stat_archiver",
        only_grows=True,
    ),
    Figure(
        "kv_erp_wal_archive_failing",
        "1 while the newest attempt to archive the write-ahead log is one that failed.",
        "SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)::int "
        "FROM pg_stat_archiver",
    ),
    Figure(
        "kv_erp_database_size_bytes",
        "Size of the service's database.",
        "SELECT pg_database_size(current_database())",
    ),
)
