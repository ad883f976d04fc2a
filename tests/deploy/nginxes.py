"""nginx with our configuration, on loopback."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme

from common.rpc_testing import free_port

CONFIGURATIONS = Path(__file__).parents[2] / "deploy" / "nginx"
_AROUND = """
daemon off;
worker_processes 2;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
{user}
events {{ worker_connections 1024; }}
http {{
    log_format upstreams '$request_method $status $upstream_addr';
    access_log {folder}/access.log upstreams;
    {paths}
    include {folder}/kv-erp*.conf;
}}
"""
_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def binary() -> str:
    """Where nginx is; skips the test, and says why, where it is not."""
    found = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip("nginx is not installed: apt-get install nginx")
    return found


@dataclass(frozen=True)
class Nginx:
    """A running nginx."""

    folder: Path
    port: int
    authority: Path

    def upstreams(self) -> list[str]:
        """Whom each request was passed to, one after the other with commas, so far."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return [line.split(" ", 2)[2] for line in lines]


@contextmanager
def running(folder: Path, servers: Mapping[str, Sequence[int]]) -> Iterator[Nginx]:
    """nginx before these ports of each upstream."""
    authority, port = trustme.CA(), free_port()
    certificate = authority.issue_cert("127.0.0.1", "api.example.com", "grpc.internal.example.com")
    certificate.private_key_pem.write_to_path(folder / "privkey.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "fullchain.pem")
    authority.cert_pem.write_to_path(folder / "ca.pem")
    for path in CONFIGURATIONS.glob("*.conf"):
        (folder / path.name).write_text(_here(path.read_text(), folder, port, servers))
    (folder / "nginx.conf").write_text(
        _AROUND.format(
            folder=folder,
            user="user root;" if os.geteuid() == 0 else "",
            paths="".join(f"{name}_temp_path {folder}/{name};" for name in _PATHS),
        )
    )
    command = [binary(), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _await(process, folder / "nginx.pid")
        yield Nginx(folder, port, folder / "ca.pem")
    finally:
        process.terminate()
        process.wait(10)


def _here(text: str, folder: Path, port: int, servers: Mapping[str, Sequence[int]]) -> str:
    """The configuration with this machine's ports, and those of the servers."""

    def upstream(found: re.Match[str]) -> str:
        options = re.search(r"server \S+ (.*);", found[0])
        assert options
        lines = [
            f"    server 127.0.0.1:{number} {options[1]};" for number in servers.get(found[1], [1])
        ]
        rest = [line for line in found[0].splitlines() if not line.strip().startswith("server ")]
        return "\n".join([*rest[:-1], *lines, rest[-1]])

    text = re.sub(r"upstream (\w+) \{.*?\n\}", upstream, text, flags=re.DOTALL)
    text = text.replace("listen 80;", f"listen 127.0.0.1:{free_port()};")
    text = text.replace("listen 443 ", f"listen 127.0.0.1:{port} ")
    return text.replace("/etc/ssl/kv-erp", str(folder))


def _await(process: "subprocess.Popen[bytes]", pid: Path) -> None:
    deadline = time.monotonic() + 20
    while not pid.exists() or not pid.read_text().strip():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
