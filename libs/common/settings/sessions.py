"""How long sessions live, and what encrypts them."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Secret, Variable, sealing_keys, whole


@dataclass(frozen=True)
class SessionSettings:
    """Sessions."""

    session_key: Annotated[
        Secret | None,
        Variable(
            "KV_ERP_SESSION_KEY",
            "Encrypts sessions, and kept answers that hold a secret, as name:base64url-key (32 "
            "bytes), the newest first. An older one follows after a comma until nothing is left "
            "that it has encrypted: 48 hours, or SESSION_LONGEST if that is more.",
            sealing_keys,
        ),
    ] = None
    session_lifetime_minutes: Annotated[
        int,
        Variable("SESSION_LIFETIME", "Minutes that a session lives without use.", whole(1, 43_200)),
    ] = 120
    session_longest_minutes: Annotated[
        int,
        Variable("SESSION_LONGEST", "Minutes that a session lives at most.", whole(1, 525_600)),
    ] = 1440
