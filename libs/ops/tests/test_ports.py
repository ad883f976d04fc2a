"""Ports stay with the stack that chose them."""

import socket

import pytest

from ops.errors import StackFailure
from ops.ports import HOST, Ports, parse_port


def listen(port: int) -> socket.socket:
    """Listen as our servers do."""
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    server.bind((HOST, port))
    server.listen()
    return server


def test_a_server_listens_on_a_port_that_is_held_for_it() -> None:
    with Ports() as ports:
        port = ports.take("sales.grpc")

        with listen(port), socket.create_connection((HOST, port)) as client:
            assert client.getpeername() == (HOST, port)


def test_nobody_else_is_given_a_held_port() -> None:
    with Ports() as ports, socket.socket() as stranger:
        port = ports.take("sales.grpc")

        with pytest.raises(OSError, match="in use"):
            stranger.bind((HOST, port))


def test_the_port_of_the_last_run_is_taken_again() -> None:
    with Ports() as first:
        port = first.take("sales.grpc")

    with Ports({"sales.grpc": port}) as second:
        assert second.take("sales.grpc") == port


def test_another_port_is_taken_when_that_of_the_last_run_is_in_use() -> None:
    with Ports() as first:
        port = first.take("sales.grpc")

    with listen(port), Ports({"sales.grpc": port}) as second:
        assert second.take("sales.grpc") != port


def test_of_two_stacks_that_start_at_once_one_gets_the_port() -> None:
    with Ports() as search:
        port = search.take("gateway.http")

    # Neither has a server yet that listens.
    with Ports() as first, Ports() as second:
        assert first.take("gateway.http", preferred=port) == port
        with pytest.raises(StackFailure, match=rf"Port {port} \(KV_ERP_HTTP_PORT\) is in use"):
            second.take_exactly("gateway.http", port, "KV_ERP_HTTP_PORT")
        assert second.take("gateway.http", preferred=port) != port


def test_a_fixed_port_in_use_is_told_by_its_variable() -> None:
    with (
        socket.create_server((HOST, 0)) as other,
        Ports() as ports,
        pytest.raises(StackFailure, match=r"KV_ERP_HTTP_PORT.*in use by another program"),
    ):
        ports.take_exactly("gateway.http", other.getsockname()[1], "KV_ERP_HTTP_PORT")


@pytest.mark.parametrize("text", ["", "0", "65536", "-1", "eighty", "٨٠"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(StackFailure, match="KV_ERP_HTTP_PORT must be a TCP port"):
        parse_port(text, "KV_ERP_HTTP_PORT")
