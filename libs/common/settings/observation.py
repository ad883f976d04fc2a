"""How a system is watched while it runs."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Variable, seconds


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
