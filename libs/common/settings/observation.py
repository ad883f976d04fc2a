"""How a system is watched while it runs."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Variable, seconds


def share(text: str) -> float:
    """A number from 0 to 1."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1:
        raise ValueError("must be a number from 0 to 1")
    return number


def http_url(text: str) -> str:
    """An address of the web."""
    if not text.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    return text


@dataclass(frozen=True)
class ObservationSettings:
    """What is looked at without anybody asking."""

    invariants_seconds: Annotated[
        float,
        Variable(
            "KV_ERP_INVARIANTS_SECONDS",
            "From one tenant's check of the system's promises to the next one's; 0: never.",
            seconds(0),
        ),
    ] = 300.0
    traces_url: Annotated[
        str | None,
        Variable(
            "KV_ERP_TRACES_URL",
            "Where spans go by OTLP over HTTP, such as http://collector:4318/v1/traces; "
            "absent: nowhere.",
            http_url,
        ),
    ] = None
    traces_ratio: Annotated[
        float,
        Variable(
            "KV_ERP_TRACES_RATIO",
            "Share of the traces that begin here whose spans are sent. "
            "Who brings a traceparent has decided already.",
            share,
        ),
    ] = 0.1
