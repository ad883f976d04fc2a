"""Certificates of the calls between services: both sides show one, and a renewed one is used."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, cast

import grpc
import structlog
from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from common.settings import Settings, SettingsError

__all__ = ["CertificateFiles", "certificates_of"]

# How long a renewed certificate may stay unnoticed.
LOOK_SECONDS = 5.0

log = structlog.get_logger()


class Certificate(NamedTuple):
    """A chain, its key and whom we believe, in PEM."""

    chain: bytes
    key: bytes
    authorities: bytes

    def refuse_if_useless(self) -> None:
        """Raise ValueError unless key and certificate belong together and it has not ended."""
        certificate = x509.load_pem_x509_certificate(self.chain)
        key = load_pem_private_key(self.key, None)
        x509.load_pem_x509_certificates(self.authorities)
        if key.public_key() != certificate.public_key():
            raise ValueError("the key is not the certificate's")
        if certificate.not_valid_after_utc < datetime.now(UTC):
            raise ValueError(f"the certificate has ended on {certificate.not_valid_after_utc:%F}")


class CertificateFiles:
    """What lies in the files, as of a few seconds ago.

    Args:
        chain, key, authorities: where they are, in PEM.

    Raises:
        SettingsError: they cannot be used.
    """

    def __init__(self, chain: str, key: str, authorities: str) -> None:
        self._paths = (Path(chain), Path(key), Path(authorities))
        self._looked = time.monotonic()
        try:
            self._current = self._read()
        except (OSError, ValueError) as error:
            names = "KV_ERP_TLS_CERT, KV_ERP_TLS_KEY and KV_ERP_TLS_CA"
            raise SettingsError(f"{names} cannot be used: {error}.") from None

    def current(self) -> Certificate:
        """The newest that can be used: one that is half written, or broken, changes nothing."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._look()
        return self._current

    def for_server(self) -> grpc.ServerCredentials:
        """Lets in who shows a certificate of ours; each new connection is shown the newest one."""
        shown = [self._current]

        def newest() -> grpc.ServerCertificateConfiguration | None:
            if shown[0] == self.current():
                return None
            shown[0] = self._current
            return _configuration(self._current)

        # None means no change, which the stubs do not know.
        fetch = cast("Callable[[], grpc.ServerCertificateConfiguration]", newest)
        return grpc.dynamic_ssl_server_credentials(
            _configuration(self._current), fetch, require_client_authentication=True
        )

    def for_channel(self) -> grpc.ChannelCredentials:
        """Shows the newest one, and believes who shows one of ours."""
        certificate = self.current()
        return grpc.ssl_channel_credentials(
            certificate.authorities, certificate.key, certificate.chain
        )

    def _look(self) -> None:
        try:
            found = self._read()
        except (OSError, ValueError) as error:
            log.warning("certificate unusable, the old one stays", error=str(error))
            return
        if found != self._current:
            self._current = found
            log.info("certificate renewed")

    def _read(self) -> Certificate:
        found = Certificate(*(path.read_bytes() for path in self._paths))
        found.refuse_if_useless()
        return found


def certificates_of(settings: Settings) -> CertificateFiles | None:
    """The certificates that the settings name, None when calls are in the clear.

    Raises:
        SettingsError: they cannot be used.
    """
    if settings.tls_cert and settings.tls_key and settings.tls_ca:
        return CertificateFiles(settings.tls_cert, settings.tls_key, settings.tls_ca)
    return None


def _configuration(certificate: Certificate) -> grpc.ServerCertificateConfiguration:
    pair = (certificate.key, certificate.chain)
    return grpc.ssl_server_certificate_configuration([pair], certificate.authorities)
