"""A record as it is sent: its JSON, and the ETag that names the state it shows (RFC 9110)."""

import hashlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from gateway.masks import Mask, kept

__all__ = ["Representation"]

_HASH_BYTES = 12
_SEPARATOR = b"\n"


class Representation(NamedTuple):
    """One state of a record, with a strong ETag: its version, if it has one, and a hash of it."""

    etag: bytes
    body: bytes

    @classmethod
    def of(cls, record: Mapping[str, Any], part: Any = None) -> "Representation":
        """The representation of a record that JSON can hold, or of a part of it.

        A part has the version of its record, so that If-Match can name it; the hash is its own.
        """
        version = record.get("version")
        body = orjson.dumps(record if part is None else part)
        digest = hashlib.blake2b(body, digest_size=_HASH_BYTES).hexdigest()
        name = digest if version is None else f"{version}-{digest}"
        return cls(f'"{name}"'.encode(), body)

    @classmethod
    def unpack(cls, packed: bytes) -> "Representation":
        """What `pack` has packed."""
        etag, _, body = packed.partition(_SEPARATOR)
        return cls(etag, body)

    def masked(self, mask: Mask) -> "Representation":
        """What a mask leaves of it."""
        record = orjson.loads(self.body)
        return Representation.of(record, kept(record, mask))

    def pack(self) -> bytes:
        """Both in one, so that neither has to be made again."""
        return self.etag + _SEPARATOR + self.body
