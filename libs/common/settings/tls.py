"""What proves to the others who a service is."""

from dataclasses import dataclass
from typing import Annotated

from common.variables import Variable


@dataclass(frozen=True)
class TlsSettings:
    """Certificates of the calls between services; without them calls are in the clear."""

    tls_cert: Annotated[
        str | None,
        Variable(
            "KV_ERP_TLS_CERT",
            "File of our certificate chain (PEM). It names the service, as in DNS:sales. "
            "Read again when it is renewed.",
        ),
    ] = None
    tls_key: Annotated[
        str | None, Variable("KV_ERP_TLS_KEY", "File of our certificate's key (PEM).")
    ] = None
    tls_ca: Annotated[
        str | None,
        Variable(
            "KV_ERP_TLS_CA",
            "File of the authorities whose certificates we believe (PEM): callers and callees "
            "alike must show one.",
        ),
    ] = None
