"""Secrets of webhooks, and the signatures that are made with them.

Source: https://www.standardwebhooks.com, version 1.0.0.
"""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from common.errors import BrokenRule
from common.sealing import Seal

__all__ = ["Secrets", "signed_headers"]
_PREFIX = "whsec_"
_BYTES = 32


@dataclass(eq=False)
class WebhooksOff(BrokenRule):
    """Secrets could not be kept safe."""

    detail = "Webhooks are off here: the operator has not set KV_ERP_WEBHOOK_KEY."


class Secrets:
    """Makes secrets and keeps them so that the database alone shows none.

    Args:
        seal: under which they lie; None when the operator has given no key.
    """

    def __init__(self, seal: Seal | None) -> None:
        self._seal = seal

    def make(self, webhook_id: UUID) -> tuple[str, bytes]:
        """A new secret as its owner is shown it, and as it is stored.

        Raises:
            WebhooksOff: there is no key to seal it with.
        """
        if self._seal is None:
            raise WebhooksOff
        key = secrets.token_bytes(_BYTES)
        shown = _PREFIX + base64.b64encode(key).decode()
        return shown, self._seal.close(key, _purpose(webhook_id))

    def open(self, stored: bytes, webhook_id: UUID) -> bytes | None:
        """The key of a stored secret; None when the key it lies under is gone."""
        return self._seal.open(stored, _purpose(webhook_id)) if self._seal else None


def signed_headers(
    message_id: str, timestamp: int, body: bytes, keys: Iterable[bytes]
) -> dict[str, str]:
    """What proves to a receiver that a message is ours and when it was sent.

    Args:
        message_id: the same for each attempt, so that the receiver can tell what it has.
        timestamp: of this attempt, in epoch seconds.
        body: what is sent.
        keys: one signature is made with each.
    """
    signed = f"{message_id}.{timestamp}.".encode() + body
    signatures = (
        "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        for key in keys
    )
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signatures),
    }


def _purpose(webhook_id: UUID) -> bytes:
    return b"webhook:" + webhook_id.bytes
