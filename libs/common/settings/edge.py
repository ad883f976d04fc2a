"""What the gateway lets in."""

from dataclasses import dataclass
from typing import Annotated

from common.settings.servers import LOOPBACK
from common.variables import Address, Variable, address, origins, whole


@dataclass(frozen=True)
class EdgeSettings:
    """Limits and proxies of the gateway."""

    http_bind: Annotated[
        Address, Variable("KV_ERP_HTTP_BIND", "Where the gateway listens for HTTP.", address)
    ] = LOOPBACK
    api_rate_limit: Annotated[
        int,
        Variable(
            "API_RATE_LIMIT",
            "Requests a minute of one user to one route, on the plan `default`.",
            whole(1, 1_000_000),
        ),
    ] = 60
    tenant_turns: Annotated[
        int,
        Variable(
            "KV_ERP_TENANT_TURNS",
            "What a gateway process asks the services for one tenant at the same time, while there "
            "are others; the rest waits for its turn.",
            whole(1, 126),
        ),
    ] = 4
    gateway_replicas: Annotated[
        int,
        Variable(
            "KV_ERP_GATEWAY_REPLICAS",
            "Gateway processes in all: while Redis is away each lets in its share of a limit.",
            whole(1, 1000),
        ),
    ] = 1
    trusted_origins: Annotated[
        frozenset[str],
        Variable(
            "KV_ERP_TRUSTED_ORIGINS",
            "Origins besides the gateway's own whose pages may read its answers (CORS) and use its "
            "session cookie, such as https://app.example.com; several with commas.",
            origins,
        ),
    ] = frozenset()
    trusted_proxies: Annotated[
        int,
        Variable(
            "KV_ERP_TRUSTED_PROXIES",
            "Proxies of ours before the gateway, whose X-Forwarded-For is believed.",
            whole(0, 10),
        ),
    ] = 0
