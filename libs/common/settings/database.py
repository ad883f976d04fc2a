"""Where a service keeps its data."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Secret, Variable, hosts, seconds, whole


@dataclass(frozen=True)
class DatabaseSettings:
    """Databases and their replicas."""

    database_url: Annotated[
        Secret | None,
        Variable("DATABASE_URL", "The service's database, as the application role.", Secret),
    ] = None
    system_database_url: Annotated[
        Secret | None,
        Variable(
            "KV_ERP_SYSTEM_DATABASE_URL", "The same, as the role that sees all tenants.", Secret
        ),
    ] = None
    migration_database_url: Annotated[
        Secret | None,
        Variable("KV_ERP_MIGRATION_DATABASE_URL", "The same, as the owner of its tables.", Secret),
    ] = None
    read_hosts: Annotated[
        tuple[str, ...],
        Variable(
            "DB_READ_HOST_n",
            "Read replicas of the service's database, n from 1: host or host:port each.",
            hosts,
        ),
    ] = ()
    replica_lag_seconds: Annotated[
        float,
        Variable(
            "KV_ERP_REPLICA_LAG_SECONDS",
            "A replica that lacks older writes than this answers no reads.",
            seconds(0.1),
        ),
    ] = 10.0
    database_pool: Annotated[
        int,
        Variable("KV_ERP_DATABASE_POOL", "Database connections of a process.", whole(1, 200)),
    ] = 8
