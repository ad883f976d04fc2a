"""Where a request comes from, as far as it can be believed."""

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

__all__ = ["address_of"]

# What one subscriber is given (RFC 6177): its addresses are one client's.
_IPV6_PREFIX = 64
_NOWHERE = "unknown"


def address_of(peer: str | None, forwarded: Sequence[bytes], trusted_proxies: int) -> str:
    """The client's address: IPv4 in full, IPv6 as its /64 network.

    Each of our proxies appends whom it heard from to X-Forwarded-For, so with N of them the N-th
    entry from the right is the client, and what stands left of it is whatever the client wrote.

    Args:
        peer: the other end of the connection.
        forwarded: the X-Forwarded-For headers in their order.
        trusted_proxies: how many proxies before us are ours.
    """
    if not trusted_proxies:
        return _normal(peer)
    heard = b",".join(forwarded).decode("latin-1").split(",")
    chain = [entry for part in heard if (entry := part.strip())]
    client = chain[-trusted_proxies:][0] if chain else None
    return _normal(_without_port(client)) if client else _normal(peer)


@lru_cache(4096)
def _normal(text: str | None) -> str:
    try:
        address = ip_address((text or "").partition("%")[0])
    except ValueError:
        return _NOWHERE
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((address, _IPV6_PREFIX), strict=False))


def _without_port(text: str) -> str:
    if text.startswith("["):
        return text[1:].partition("]")[0]
    host, colon, _ = text.partition(":")
    return host if colon and "." in host else text
