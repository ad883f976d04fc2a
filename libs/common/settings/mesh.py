"""Where the services are, and how they believe each other."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Secret, Variable


@dataclass(frozen=True)
class MeshSettings:
    """Services and their identities."""

    inventory_target: Annotated[
        str | None,
        Variable("KV_ERP_INVENTORY_TARGET", "Where inventory is: host:port or dns:///name:port."),
    ] = None
    accounting_target: Annotated[
        str | None,
        Variable("KV_ERP_ACCOUNTING_TARGET", "Where accounting is: host:port or dns:///name:port."),
    ] = None
    sales_target: Annotated[
        str | None,
        Variable("KV_ERP_SALES_TARGET", "Where sales is: host:port or dns:///name:port."),
    ] = None
    gateway_target: Annotated[
        str | None,
        Variable("KV_ERP_GATEWAY_TARGET", "Where the gateway is: host:port or dns:///name:port."),
    ] = None
    identity_key: Annotated[
        Secret | None,
        Variable(
            "KV_ERP_IDENTITY_KEY", "Signs our calls, as name:base64url-seed (Ed25519).", Secret
        ),
    ] = None
    identity_trusted_keys: Annotated[
        str,
        Variable(
            "KV_ERP_IDENTITY_TRUSTED_KEYS",
            "Public keys of the services that may call, as name:base64url-key,… "
            "A name comes twice while its key is being changed.",
        ),
    ] = ""
