"""How a process listens, logs, works and ends."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Address, Variable, address, flag, one_of, seconds, whole

LOOPBACK = Address("127.0.0.1", 0)


@dataclass(frozen=True)
class ServerSettings:
    """A process of any service."""

    grpc_bind: Annotated[
        Address, Variable("KV_ERP_GRPC_BIND", "Where the service listens for gRPC.", address)
    ] = LOOPBACK
    health_bind: Annotated[
        Address | None,
        Variable(
            "KV_ERP_HEALTH_BIND",
            "Where nothing but gRPC health is served, in the clear, for the probes of Kubernetes; "
            "absent or port 0: nowhere.",
            address,
        ),
    ] = None
    metrics_bind: Annotated[
        Address | None,
        Variable(
            "KV_ERP_METRICS_BIND", "Where Prometheus reads; absent or port 0: nowhere.", address
        ),
    ] = None
    log_level: Annotated[
        str,
        Variable(
            "KV_ERP_LOG_LEVEL",
            "The least severe lines to write: debug, info, warning or error.",
            one_of("debug", "info", "warning", "error"),
        ),
    ] = "info"
    log_format: Annotated[
        str,
        Variable(
            "KV_ERP_LOG_FORMAT", "json for machines, text for people.", one_of("json", "text")
        ),
    ] = "json"
    tenant_calls: Annotated[
        int,
        Variable(
            "KV_ERP_TENANT_CALLS",
            "Calls of one tenant that a process works on at the same time.",
            whole(1, 100_000),
        ),
    ] = 512
    workers: Annotated[
        int, Variable("KV_ERP_WORKERS", "Server processes on one port.", whole(1, 64))
    ] = 1
    shared_port: Annotated[
        bool, Variable("KV_ERP_SHARED_PORT", "Set by a server for its worker processes.", flag)
    ] = False
    drain_wait_seconds: Annotated[
        float,
        Variable(
            "KV_ERP_DRAIN_WAIT_SECONDS",
            "Between saying not ready and refusing calls, for load balancers to notice.",
            seconds(0),
        ),
    ] = 0.0
    shutdown_grace_seconds: Annotated[
        float,
        Variable("KV_ERP_SHUTDOWN_GRACE_SECONDS", "For running calls to finish.", seconds(0)),
    ] = 10.0
    request_timeout_seconds: Annotated[
        float,
        Variable(
            "KV_ERP_REQUEST_TIMEOUT_SECONDS", "For a call that brings no deadline.", seconds(0.1)
        ),
    ] = 10.0
