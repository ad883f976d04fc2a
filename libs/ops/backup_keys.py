"""The keys under which backups are encrypted: a file of them, the first one for new backups."""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from ops.errors import StackFailure

KEY_BYTES = 32
ID_BYTES = 8


class BackupKeys:
    """What a key file holds. A key is changed by putting the new one above the old ones.

    Args:
        source: how a failure names them.
        keys: the first one encrypts, any of them decrypts.
    """

    def __init__(self, source: str, keys: Sequence[bytes]) -> None:
        self._source = source
        self._by_id = {_id_of(key): key for key in keys}
        self.first = _id_of(keys[0])

    @classmethod
    def read(cls, file: Path) -> Self:
        """The keys of a file, a base64 line each; a StackFailure if it holds none, or no keys."""
        try:
            lines = file.read_text().split()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise StackFailure(f"The backup key {file} cannot be read: {why}.") from error
        keys = [_decoded(line) for line in lines]
        if not keys or any(len(key) != KEY_BYTES for key in keys):
            sentence = f"{file} must hold a key of {KEY_BYTES} bytes in base64 on each line."
            raise StackFailure(f"{sentence} `kv-erp backup key FILE` makes one.")
        return cls(str(file), keys)

    def get(self, key_id: bytes, name: str) -> bytes:
        """The key with this id; a StackFailure says that `name` was encrypted with another."""
        if (key := self._by_id.get(key_id)) is None:
            held = ", ".join(one.hex() for one in self._by_id)
            raise StackFailure(
                f"{name} was encrypted with key {key_id.hex()}, but {self._source} holds {held}."
            )
        return key


def needed(keys: BackupKeys | None) -> BackupKeys:
    """`keys`; a StackFailure says that there have to be some."""
    if keys is None:
        raise StackFailure(
            "The backup is encrypted: name the file of its key with --key-file or"
            " KV_ERP_BACKUP_KEY_FILE."
        )
    return keys


def make_key_file(file: Path) -> str:
    """Write a new key to a new file, for its owner's eyes only; returns the key's id."""
    key = secrets.token_bytes(KEY_BYTES)
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise StackFailure(f"{file} exists; no key is written over another.") from error
    except OSError as error:
        raise StackFailure(f"{file} cannot be written: {error.strerror}.") from error
    with os.fdopen(descriptor, "wb") as target:
        target.write(base64.b64encode(key) + b"\n")
    return _id_of(key).hex()


def _id_of(key: bytes) -> bytes:
    return hashlib.sha256(b"kv-erp backup key id\0" + key).digest()[:ID_BYTES]


def _decoded(line: str) -> bytes:
    try:
        return base64.b64decode(line, validate=True)
    except binascii.Error:
        return b""
