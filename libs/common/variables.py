"""How one setting is written in the environment: its name, its type, and what is wrong with it."""

import base64
import binascii
import re
from collections.abc import Callable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from common.redis_urls import parse_redis_url

__all__ = [
    "Address",
    "Explained",
    "Secret",
    "SettingsError",
    "Variable",
    "address",
    "always",
    "explained",
    "flag",
    "hosts",
    "mail_address",
    "one_of",
    "redis_server",
    "sealing_keys",
    "seconds",
    "web_address",
    "whole",
]


class SettingsError(Exception):
    """The environment cannot be worked with; one sentence a problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "\n".join(self.problems)


class Secret:
    """A text that shows itself only on request, so that it cannot slip into a log."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The text itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('***')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reveal() == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class Address(NamedTuple):
    """Where to listen; port 0 is any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


class Explained(NamedTuple):
    """A value that is understood and decides nothing; why is told at start."""

    text: str
    why: str


_HOST = re.compile(r"[A-Za-z0-9._-]+(:[0-9]{1,5})?")
_ORIGIN = re.compile(r"https?://[a-z0-9._-]+(:[0-9]{1,5})?")
_MAIL_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)*")
_LARGEST_PORT = 65535
_LONGEST_SECONDS = 3600
_SEALING_KEY_BYTES = 32


def address(text: str) -> Address:
    """Where to listen, as host:port."""
    host, separator, port = text.rpartition(":")
    if not (separator and host and port.isdecimal() and int(port) <= _LARGEST_PORT):
        raise ValueError("must be host:port with a port of at most 65535, such as 127.0.0.1:5001")
    return Address(host, int(port))


def hosts(text: str) -> tuple[str, ...]:
    """Servers, as host or host:port, with commas between them."""
    found = tuple(text.split(","))
    if not all(map(_HOST.fullmatch, found)):
        raise ValueError("must be host or host:port, such as db-2.internal:5432")
    return found


def origins(text: str) -> frozenset[str]:
    """Origins of pages (RFC 6454), with commas between them."""
    found = frozenset(item.strip() for item in text.split(","))
    if not all(map(_ORIGIN.fullmatch, found)):
        raise ValueError("must be scheme://host or scheme://host:port, such as https://app.example")
    return found


def mail_address(text: str) -> str:
    """One plain mail address, without a name."""
    if not _MAIL_ADDRESS.fullmatch(text):
        raise ValueError("must be a mail address such as erp@example.com")
    return text


def whole(least: int, most: int) -> Callable[[str], int]:
    """A whole number in a range."""

    def parse(text: str) -> int:
        if not (text.isdecimal() and least <= int(text) <= most):
            raise ValueError(f"must be a whole number from {least} to {most}")
        return int(text)

    return parse


def wholes(least: int, most: int) -> Callable[[str], tuple[int, ...]]:
    """Whole numbers in a range, with commas between them."""
    one = whole(least, most)
    return lambda text: tuple(one(part.strip()) for part in text.split(","))


def seconds(least: float) -> Callable[[str], float]:
    """A time of at least so many seconds and at most an hour."""

    def parse(text: str) -> float:
        try:
            seconds = float(text)
        except ValueError:
            seconds = -1
        if not least <= seconds <= _LONGEST_SECONDS:
            raise ValueError(f"must be a number of seconds from {least:g} to 3600")
        return seconds

    return parse


def one_of(*words: str) -> Callable[[str], str]:
    """One of these words."""

    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"must be {'one of ' * (len(words) > 1)}{', '.join(words)}")
        return text.lower()

    return parse


def flag(text: str) -> bool:
    """Whether something is on: 1 or true, 0 or false."""
    return one_of("0", "1", "false", "true")(text) in ("1", "true")


def always(value: bool, because: str) -> Callable[[str], bool]:
    """A flag that cannot be otherwise."""

    def parse(text: str) -> bool:
        if flag(text) is not value:
            raise ValueError(f"must be {str(value).lower()}: {because}")
        return value

    return parse


def explained(
    shape: str, fits: Callable[[str], bool], why: str
) -> Callable[[str], Explained | None]:
    """What others' configurations say and is decided otherwise here; "true" needs no explanation.

    Args:
        shape: what it must be, in words.
        fits: whether a text is that.
        why: the sentence that the process tells at start.
    """

    def parse(text: str) -> Explained | None:
        if not fits(text.lower()):
            raise ValueError(f"must be {shape}")
        return None if text.lower() == "true" else Explained(text, why)

    return parse


def web_address(text: str) -> str:
    """Where something is on the web: http or https, a host, nothing behind it."""
    parts = urlsplit(text)
    bare = (parts.scheme, parts.path.strip("/"), parts.query, parts.fragment, parts.username)
    if not parts.hostname or bare not in (("http", "", "", "", None), ("https", "", "", "", None)):
        raise ValueError("must be http:// or https:// and a host, such as https://api.example.com")
    return f"{parts.scheme}://{parts.netloc}"


def redis_server(text: str) -> Secret:
    """A Redis URL: one server, a Sentinel set or a Cluster.

    redis://[user:password@]host:port/db, rediss:// for TLS,
    redis+sentinel://host:port,host:port/name/db, redis+cluster://host:port,host:port
    """
    parse_redis_url(text)
    return Secret(text)


def sealing_keys(text: str) -> Secret:
    """Keys of 32 bytes with names: name:base64url,name:base64url."""
    for item in text.split(","):
        name, _, key = item.strip().partition(":")
        try:
            length = len(base64.urlsafe_b64decode(key))
        except binascii.Error:
            length = 0
        if not name or length != _SEALING_KEY_BYTES:
            raise ValueError("must be name:key,… with keys of 32 bytes in base64url")
    return Secret(text)


class Variable(NamedTuple):
    """How a setting is written in the environment."""

    name: str
    meaning: str
    parse: Callable[[str], Any] = str
