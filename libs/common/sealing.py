"""Texts that only we can read and nobody can change: AES-256-GCM, under keys that have names."""

import base64
import secrets
from collections.abc import Mapping
from typing import Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["Seal"]

_NONCE_BYTES = 12


class Seal:
    """Seals with the first of its keys, and opens what any of them has sealed.

    A key is changed by putting the new one first, and taking the old one away once nothing is left
    that it has sealed.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        self._keys = {name.encode(): AESGCM(key) for name, key in keys.items()}
        self._first = next(iter(self._keys))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The keys as KV_ERP_SESSION_KEY writes them: name:base64url-key, more after commas."""
        pairs = (item.strip().partition(":") for item in text.split(","))
        return cls({name: base64.urlsafe_b64decode(key) for name, _, key in pairs})

    def close(self, text: bytes, purpose: bytes) -> bytes:
        """The text, sealed; it opens for the same purpose only."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._keys[self._first].encrypt(nonce, text, purpose)
        return bytes([len(self._first)]) + self._first + nonce + sealed

    def open(self, sealed: bytes, purpose: bytes) -> bytes | None:
        """The text, or None when it was not sealed by one of our keys for this purpose."""
        start = 1 + sealed[0] if sealed else 0
        key = self._keys.get(sealed[1:start])
        if key is None:
            return None
        nonce, text = sealed[start : start + _NONCE_BYTES], sealed[start + _NONCE_BYTES :]
        try:
            return key.decrypt(nonce, text, purpose)
        except (InvalidTag, ValueError):
            return None
