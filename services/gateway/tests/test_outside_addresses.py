"""Nobody makes us call an address inside our own walls (OWASP: server-side request forgery)."""

import asyncio
import socket
import ssl
from typing import Self

import pytest

from gateway import outside_http
from gateway.outside_addresses import AddressRefused, OutsideAddresses
from gateway.outside_http import OutsideHttp

STRICT, LOCAL = OutsideAddresses(), OutsideAddresses(local=True)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://example.com/",
        "javascript:alert(1)",
        "//example.com/",
        "example.com/hook",
        "https://",
        "https:///hook",
        "https://user:password@example.com/",
        "https://user@example.com/",
        "https://@example.com/",
        "https://example.com#fragment",
        "https://example.com\\@127.0.0.1/",
        "https://exa mple.com/",
        "https://example.com/\nhost: other",
        "https://exämple.com/",
        "https://example.com:22/",
        "https://example.com:6379/",
        "https://example.com:80/",
        "https://example.com:99999/",
        "https://example.com:port/",
        "https://[::1/",
        "https://127.0.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fe80::1%25eth0]/",
        "https://-example.com/",
    ],
)
def test_such_a_url_is_refused(url):
    with pytest.raises(AddressRefused):
        STRICT.check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?a=b",
        "https://example.com:8443/",
        "https://EXAMPLE.com./",
        "https://93.184.215.14/",
        "https://[2606:2800:21f:cb07:6820:80da:af6b:8b2c]/",
        "https://xn--exmple-cua.com/",
    ],
)
def test_such_a_url_is_fine(url):
    STRICT.check_url(url)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.192",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:127.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "3fff::1",
        "5f00::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "nonsense",
    ],
)
def test_such_an_address_is_never_called(address):
    with pytest.raises(AddressRefused):
        STRICT.check_address(address)
    if address not in ("127.0.0.1", "127.255.255.254", "::1"):
        with pytest.raises(AddressRefused):
            LOCAL.check_address(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "93.184.215.14", "2606:4700::1111"])
def test_a_public_address_is_called(address):
    STRICT.check_address(address)


@pytest.mark.parametrize("host", ["2130706433", "0x7f.1", "127.1", "0177.0.0.1", "localhost"])
async def test_other_spellings_of_this_machine_are_seen_through(host):
    with pytest.raises(AddressRefused):
        await STRICT.resolve(host, 443)


class Receiver:
    """A server on this machine that answers what it is told to, and counts who came."""

    def __init__(self, answer: bytes, pause: float = 0) -> None:
        self.answer, self.pause, self.came = answer, pause, 0

    async def __aenter__(self) -> Self:
        self.server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.server.close()

    async def _serve(self, reader, writer) -> None:
        self.came += 1
        try:
            await reader.readuntil(b"\r\n\r\n")
            for byte in self.answer if self.pause else ():
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(self.pause)
            if not self.pause:
                writer.write(self.answer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        writer.close()


def answers(*names: str):
    """A resolver that says one thing after the other."""
    said = iter(names)

    async def getaddrinfo(host, port, **_):
        address = next(said)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port))]

    return getaddrinfo


async def test_a_name_that_leads_inside_is_refused_and_nobody_called(monkeypatch):
    async with Receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as receiver:
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", answers("127.0.0.1"))
        guard = OutsideAddresses(ports=(receiver.port,))

        reply = await OutsideHttp(guard).post(f"https://evil.example:{receiver.port}/", {}, b"")

    assert receiver.came == 0
    assert "not public" in reply.error


async def test_what_is_called_is_what_was_checked(monkeypatch):
    """DNS rebinding: the second answer for the same name would be another address."""
    called = []

    async def connect(_self, host, *_rest):
        called.append(host)
        raise outside_http.httpcore.ConnectError("nobody there")

    monkeypatch.setattr(outside_http.httpcore.AnyIOBackend, "connect_tcp", connect)
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "getaddrinfo", answers("93.184.215.14", "127.0.0.1"))

    reply = await OutsideHttp(STRICT).post("https://rebind.example/", {}, b"")

    assert called == ["93.184.215.14"]
    assert "nobody there" in reply.error


async def test_one_inner_address_among_others_refuses_all(monkeypatch):
    async def getaddrinfo(_host, port, **_):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))
            for address in ("93.184.215.14", "10.0.0.1")
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)

    with pytest.raises(AddressRefused):
        await STRICT.resolve("mixed.example", 443)


async def test_a_redirect_is_an_answer_and_not_followed():
    async with Receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n") as inner:
        location = f"http://127.0.0.1:{inner.port}/"
        moved = f"HTTP/1.1 307 Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode()
        async with Receiver(moved) as receiver:
            reply = await OutsideHttp(LOCAL).post(f"http://127.0.0.1:{receiver.port}/", {}, b"")

    assert (reply.status, reply.succeeded, inner.came) == (307, False, 0)


async def test_no_proxy_is_taken_from_the_environment(monkeypatch):
    async with (
        Receiver(b"HTTP/1.1 204 No Content\r\n\r\n") as proxy,
        Receiver(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok") as receiver,
    ):
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        reply = await OutsideHttp(LOCAL).post(f"http://127.0.0.1:{receiver.port}/", {}, b"")

    assert (reply.status, reply.text, proxy.came) == (200, "ok", 0)


async def test_no_more_is_read_than_fits():
    endless = b"HTTP/1.1 500 Oh\r\ncontent-length: 90000000\r\n\r\n" + b"x" * 5_000_000
    async with Receiver(endless) as receiver:
        reply = await OutsideHttp(LOCAL).post(f"http://127.0.0.1:{receiver.port}/", {}, b"")

    assert (reply.status, len(reply.text)) == (500, 1000)


async def test_a_receiver_that_drips_is_left(monkeypatch):
    monkeypatch.setattr(outside_http, "TOTAL_SECONDS", 0.3)
    drip = b"HTTP/1.1 200 OK\r\n" + b"x-more: y\r\n" * 1000
    async with Receiver(drip, pause=0.02) as receiver:
        reply = await OutsideHttp(LOCAL).post(f"http://127.0.0.1:{receiver.port}/", {}, b"")

    assert (reply.status, reply.succeeded) == (0, False)
    assert reply.seconds < 5


async def test_a_certificate_that_nobody_vouches_for_is_refused():
    assert OutsideHttp(STRICT)._tls.verify_mode is ssl.CERT_REQUIRED
    assert OutsideHttp(STRICT)._tls.check_hostname
    async with Receiver(b"no TLS at all") as receiver:
        reply = await OutsideHttp(LOCAL).post(f"https://127.0.0.1:{receiver.port}/", {}, b"")

    assert (reply.status, reply.succeeded) == (0, False)
