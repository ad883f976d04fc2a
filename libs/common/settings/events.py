"""How many clients follow events as they happen."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Variable, whole


@dataclass(frozen=True)
class EventSettings:
    """Streams of events."""

    event_streams: Annotated[
        int,
        Variable(
            "KV_ERP_EVENT_STREAMS",
            "Clients that one process of the gateway lets follow events.",
            whole(0, 10_000),
        ),
    ] = 500
    tenant_event_streams: Annotated[
        int,
        Variable("KV_ERP_TENANT_EVENT_STREAMS", "Those of one tenant among them.", whole(0, 1000)),
    ] = 20
