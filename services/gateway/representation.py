"""A record as it is sent: its JSON, and the ETag that names the state it shows (RFC 9110)."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

__all__ = ["Representation"]

_HASH_BYTES = 12
_SEPARATOR = b"\n"


class Representation(NamedTuple):
    """One state of a record, with a strong ETag: its version, if it has one, and a hash of it."""

    etag: bytes
    body: bytes

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "Representation":
        """The representation of what JSON can hold."""
        body, version = orjson.dumps(record), record.get("version")
        digest = hashlib.blake2b(body, digest_size=_HASH_BYTES).hexdigest()
        name = digest if version is None else f"{version}-{digest}"
        return cls(f'"{name}"'.encode(), body)

    @classmethod
    def unpack(cls, packed: bytes) -> "Representation":
        """What `pack` has packed."""
        etag, _, body = packed.partition(_SEPARATOR)
        return cls(etag, body)

    def pack(self) -> bytes:
        """Both in one, so that neither has to be made again."""
        return self.etag + _SEPARATOR + self.body
