"""Files that only a key opens and nobody can change: AES-256-GCM in chunks, as STREAM has it.

Each file has a key of its own, derived from the backup key and a random salt by HKDF-SHA256. Its
chunks are numbered and the last one is marked in their nonces, so that none can be left out, moved
or cut off (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse
Misuse-Resistance, 2015; age and Tink do the same). Each chunk is bound to the file's name: one
backup's file does not pass for another's.
"""

import io
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ops.backup_keys import ID_BYTES, KEY_BYTES, BackupKeys
from ops.errors import StackFailure

SUFFIX = ".sealed"
_MAGIC = b"KVERP-B1"
_SALT_BYTES = 32
_HEADER_BYTES = len(_MAGIC) + ID_BYTES + _SALT_BYTES
_CHUNK_BYTES = 1 << 20
_TAG_BYTES = 16


def seal(source: IO[bytes], target: IO[bytes], keys: BackupKeys, name: str) -> None:
    """Write `source` encrypted to `target`, a chunk at a time; it opens under `name` only."""
    salt = secrets.token_bytes(_SALT_BYTES)
    target.write(_MAGIC + keys.first + salt)
    cipher = _cipher(keys.get(keys.first, name), salt)
    for number, (chunk, is_last) in enumerate(_chunks(source, _CHUNK_BYTES)):
        target.write(cipher.encrypt(_nonce(number, is_last=is_last), chunk, name.encode()))


def unsealed(source: IO[bytes], keys: BackupKeys, name: str) -> Iterator[bytes]:
    """What was sealed as `name`, a chunk at a time, each as it is proven to be whole.

    Raises:
        StackFailure: it was sealed with another key, or is damaged, cut off, or another file.
    """
    header = source.read(_HEADER_BYTES)
    key = keys.get(key_id_of(header, name), name)
    cipher = _cipher(key, header[-_SALT_BYTES:])
    for number, (chunk, is_last) in enumerate(_chunks(source, _CHUNK_BYTES + _TAG_BYTES)):
        try:
            yield cipher.decrypt(_nonce(number, is_last=is_last), chunk, name.encode())
        except InvalidTag as error:
            raise StackFailure(
                f"{name} is damaged, or is not the file that was written."
            ) from error


def key_id_of(header: bytes, name: str) -> bytes:
    """With which key a file was sealed, by its beginning; a StackFailure if it was not."""
    if not header.startswith(_MAGIC) or len(header) < len(_MAGIC) + ID_BYTES:
        raise StackFailure(f"{name} is no encrypted file of a backup.")
    return header[len(_MAGIC) : len(_MAGIC) + ID_BYTES]


def check_key(file: Path, keys: BackupKeys, name: str) -> None:
    """See whether one of the keys opens a file, by its beginning alone; else a StackFailure."""
    with file.open("rb") as source:
        keys.get(key_id_of(source.read(_HEADER_BYTES), name), name)


class Unsealed(io.RawIOBase):
    """Reads a sealed file as if it were none, from its beginning to its end."""

    def __init__(self, source: IO[bytes], keys: BackupKeys, name: str) -> None:
        super().__init__()
        self._chunks = unsealed(source, keys, name)
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the chunk at hand goes; 0 at the end."""
        if not self._left:
            self._left = memoryview(next(self._chunks, b""))
        count = min(len(buffer), len(self._left))
        buffer[:count] = self._left[:count]
        self._left = self._left[count:]
        return count


def _chunks(source: IO[bytes], size: int) -> Iterator[tuple[bytes, bool]]:
    """The pieces of a file, and whether each is the last; an empty file has one, which is empty."""
    chunk = source.read(size)
    while True:
        following = source.read(size)
        yield chunk, not following
        if not following:
            return
        chunk = following


def _cipher(key: bytes, salt: bytes) -> AESGCM:
    derived = HKDF(SHA256(), KEY_BYTES, salt, b"kv-erp backup file").derive(key)
    return AESGCM(derived)


def _nonce(number: int, *, is_last: bool) -> bytes:
    return number.to_bytes(11, "big") + bytes([is_last])
