"""What Prometheus is told about the pools of database connections of a process."""

from collections import Counter as Count
from collections.abc import Iterator
from weakref import WeakKeyDictionary

from prometheus_client import REGISTRY
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.engine import Engine
from sqlalchemy.pool import QueuePool

__all__ = ["watch"]


class _Pools(Collector):
    """Counts connections when it is asked: nothing is added to the way of a transaction."""

    def __init__(self) -> None:
        self._names: WeakKeyDictionary[Engine, str] = WeakKeyDictionary()

    def add(self, engine: Engine, name: str) -> None:
        self._names[engine] = name

    def collect(self) -> Iterator[Metric]:
        """The connections in use and at rest, and how many there may be, by pool."""
        connections = GaugeMetricFamily(
            "kv_erp_database_connections", "Open connections.", labels=["pool", "state"]
        )
        limits = GaugeMetricFamily(
            "kv_erp_database_connections_limit", "Most connections of a pool.", labels=["pool"]
        )
        used, idle, most = Count[str](), Count[str](), Count[str]()
        for engine, name in list(self._names.items()):
            # A pool is replaced when its server has gone.
            pool = engine.pool
            if isinstance(pool, QueuePool):
                used[name] += pool.checkedout()
                idle[name] += pool.checkedin()
                most[name] += pool.size()
        for name in most:
            connections.add_metric([name, "used"], used[name])
            connections.add_metric([name, "idle"], idle[name])
            limits.add_metric([name], most[name])
        yield connections
        yield limits


_POOLS = _Pools()
REGISTRY.register(_POOLS)


def watch(engine: Engine, name: str) -> None:
    """Tell of an engine's pool under this name for as long as the engine is there."""
    _POOLS.add(engine, name)
