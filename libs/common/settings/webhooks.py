"""Where webhooks may lead, and what their secrets lie under."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Secret, Variable, flag, sealing_keys, wholes


@dataclass(frozen=True)
class WebhookSettings:
    """Webhooks."""

    webhook_key: Annotated[
        Secret | None,
        Variable(
            "KV_ERP_WEBHOOK_KEY",
            "Encrypts the secrets of webhooks, as name:base64url-key (32 bytes), the newest first; "
            "older ones follow after commas. Without it there are no webhooks.",
            sealing_keys,
        ),
    ] = None
    webhook_ports: Annotated[
        tuple[int, ...],
        Variable("KV_ERP_WEBHOOK_PORTS", "Ports that webhooks may have.", wholes(1, 65_535)),
    ] = (443, 8443)
    webhook_local: Annotated[
        bool,
        Variable(
            "KV_ERP_WEBHOOK_LOCAL",
            "Let webhooks have plain http, any port and this machine: for developers only.",
            flag,
        ),
    ] = False
