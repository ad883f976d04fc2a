"""Which addresses outside may be called on behalf of somebody: never one inside our own walls."""

import asyncio
import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

__all__ = ["AddressRefused", "OutsideAddresses"]

# Beyond what Python knows not to be global: addresses that stand for others (NAT64, 6to4, Teredo,
# IPv4 inside IPv6), old site-local ones, and services of clouds at public addresses.
_NEVER = tuple(
    ip_network(network)
    for network in (
        "168.63.129.16/32",
        "192.0.0.0/24",
        "192.88.99.0/24",
        "64:ff9b::/96",
        "64:ff9b:1::/48",
        "2001::/23",
        "2002::/16",
        "3fff::/20",
        "5f00::/16",
        "fec0::/10",
    )
)
_ALL_IPV6 = ip_network("2000::/3")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\.?", re.ASCII)
_PRINTABLE = re.compile(r"[!-~]+", re.ASCII)
_DEFAULT_PORTS = {"https": 443, "http": 80}


class AddressRefused(Exception):
    """Nothing is sent there; the text says why."""


@dataclass(frozen=True)
class OutsideAddresses:
    """What may be called.

    Args:
        ports: those that may.
        local: whether plain http, this machine and any port may as well: on a developer's machine.
    """

    ports: Collection[int] = (443, 8443)
    local: bool = False

    def check_url(self, url: str) -> None:
        """Refuse a URL that could never be called, in words that follow its field's name.

        Raises:
            AddressRefused: it is none, or not allowed.
        """
        parts = _split(url)
        if parts.scheme != "https" and not (self.local and parts.scheme == "http"):
            raise AddressRefused("must begin with https://")
        if parts.username is not None or parts.password is not None or "@" in parts.netloc:
            raise AddressRefused("must not hold a user or a password")
        if "#" in url:
            raise AddressRefused("must not have a fragment")
        host = parts.hostname or ""
        literal = _literal(host)
        if literal is None and not _HOST.fullmatch(host):
            raise AddressRefused("must name a host, in ASCII")
        if literal is not None:
            self.check_address(host)
        port = _port_of(parts)
        if not self.local and port not in self.ports:
            allowed = ", ".join(map(str, sorted(self.ports)))
            raise AddressRefused(f"must have one of the ports {allowed}")

    def check_address(self, address: str) -> None:
        """Refuse an address that is not a public one.

        Raises:
            AddressRefused: it is private, loopback, link-local, shared, reserved, or stands for
                another.
        """
        literal = _literal(address)
        if literal is None:
            raise AddressRefused("is no address")
        if self.local and literal.is_loopback:
            return
        if not _is_public(literal):
            raise AddressRefused("leads to an address that is not public")

    async def resolve(self, host: str, port: int) -> list[str]:
        """The addresses of a host, all of which may be called. What is called is one of these.

        Raises:
            AddressRefused: one of them may not, or there is none.
        """
        loop = asyncio.get_running_loop()
        try:
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            raise AddressRefused("has a host that has no address") from None
        addresses = list(dict.fromkeys(str(entry[4][0]) for entry in found))
        for address in addresses:
            self.check_address(address)
        if not addresses:
            raise AddressRefused("has a host that has no address")
        return addresses


def _split(url: str) -> SplitResult:
    if not _PRINTABLE.fullmatch(url) or "\\" in url:
        raise AddressRefused("must be a URL in ASCII without spaces")
    try:
        parts = urlsplit(url)
        _port_of(parts)
    except ValueError:
        raise AddressRefused("must be a URL") from None
    return parts


def _port_of(parts: SplitResult) -> int:
    return parts.port if parts.port is not None else _DEFAULT_PORTS.get(parts.scheme, 0)


def _literal(host: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(host)
    except ValueError:
        return None


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv6Address) and (address.scope_id or address not in _ALL_IPV6):
        return False
    special = address.is_multicast or address.is_reserved or address.is_unspecified
    listed = any(address in network for network in _NEVER if network.version == address.version)
    return address.is_global and not special and not listed
