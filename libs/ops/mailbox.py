"""A mailbox one can look into: an SMTP server that keeps each mail as a file and sends none on.

Run as a program (`python -m ops.mailbox PORT DIRECTORY`), or as a server of the local stack.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope

from ops.embedded import EmbeddedServer
from ops.ports import HOST
from ops.processes import ProcessSpec

LARGEST_MAIL_BYTES = 10 * 1024 * 1024


@dataclass(frozen=True)
class StoredMail:
    """A mail in a mailbox."""

    path: Path
    message: EmailMessage

    @property
    def name(self) -> str:
        """What `kv-erp mail show` calls it: later ones come later in the alphabet."""
        return self.path.stem

    def body(self, kind: str = "plain") -> str:
        """What it says, "plain" or as "html"."""
        part = self.message.get_body((kind,))
        return "" if part is None else str(part.get_content())


def mails_in(directory: Path) -> list[StoredMail]:
    """All mail in a mailbox, oldest first."""
    paths = sorted(directory.glob("*.eml"))
    return [StoredMail(path, _read(path.read_bytes())) for path in paths]


def _read(content: bytes) -> EmailMessage:
    return message_from_bytes(content, policy=policy.default)


class Keeping:
    """Stores what arrives; a mail is on disk before it is said to be taken."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._count = 0

    async def handle_DATA(self, _server: SMTP, _session: Any, envelope: Envelope) -> str:  # noqa: N802 (named by aiosmtpd)
        """Store one mail with its envelope."""
        self._count += 1
        content = envelope.original_content or b""
        lines = [f"Return-Path: <{envelope.mail_from}>"]
        lines += [f"Delivered-To: {recipient}" for recipient in envelope.rcpt_tos]
        head = "".join(f"{line}\r\n" for line in lines).encode("utf-8", "surrogateescape")
        name = f"{time.time_ns():020d}-{os.getpid()}-{self._count}"
        _store(self._directory / f"{name}.eml", head + content)
        return "250 OK"


def _store(path: Path, content: bytes) -> None:
    unfinished = path.with_suffix(".part")
    with unfinished.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)


async def serve(port: int, directory: Path) -> None:
    """Take mail on this port of 127.0.0.1 until told to stop."""
    keeping = Keeping(directory)
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)

    def talk() -> SMTP:
        return SMTP(keeping, data_size_limit=LARGEST_MAIL_BYTES, enable_SMTPUTF8=True, loop=loop)

    server = await loop.create_server(talk, HOST, port)
    await stopping.wait()
    server.close()


class Mailbox(EmbeddedServer):
    """The mailbox as a process, with its mail in one directory."""

    title = "Mailbox"
    port_name = "mailbox"
    poll_seconds = 0.02

    def __init__(
        self, directory: Path, *, port: int | None = None, log: Path | None = None
    ) -> None:
        super().__init__(directory, port=port, log=log)

    @property
    def address(self) -> str:
        """Where it takes mail, as host:port."""
        return f"{HOST}:{self.port}"

    def prepare(self) -> None:
        """Make the directory."""
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)

    def process(self) -> ProcessSpec:
        """The server as a process to supervise; call `prepare()` first."""
        return ProcessSpec(
            name="mailbox",
            argv=(sys.executable, "-m", "ops.mailbox", str(self.port), str(self.directory)),
            environment={
                "PATH": os.environ.get("PATH", ""),
                "PYTHONPATH": os.pathsep.join(_ours()),
            },
            log=self.log,
        )

    def is_ready(self) -> bool:
        """Whether it greets."""
        try:
            with socket.create_connection((HOST, self.port), timeout=2) as connection:
                return connection.recv(64).startswith(b"220")
        except OSError:
            return False

    def mails(self) -> list[StoredMail]:
        """All that has arrived, oldest first."""
        return mails_in(self.directory)


def _ours() -> list[str]:
    # Where this package is, for a process that starts elsewhere.
    return [str(Path(__file__).parents[1])]


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), Path(sys.argv[2])))
