"""An SMTP server that does something terrible at a named point."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

from common.mailer import Mailer
from common.settings import Settings


@dataclass
class PostOffice:
    """Takes mail; `at` is called with "RCPT", "DATA" and "." before it answers to each."""

    at: Callable[[str], str | None] = lambda _point: None
    port: int = 0
    taken: list[EmailMessage] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        writer.write(b"220 here\r\n")
        try:
            while line := await reader.readline():
                word = line.decode().strip().partition(" ")[0].upper()
                answer = self.at(word) or ("354 go on" if word == "DATA" else "250 fine")
                writer.write(f"{answer}\r\n".encode())
                if answer.startswith("354"):
                    await self._take(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        content = await reader.readuntil(b"\r\n.\r\n")
        answer = self.at(".") or "250 taken"
        if answer.startswith("250"):
            self.taken.append(message_from_bytes(content[:-3], policy=policy.default))
        writer.write(f"{answer}\r\n".encode())

    def subjects(self) -> list[str]:
        """The subjects of what was taken, in their own order."""
        return sorted(str(message["Subject"]) for message in self.taken)


@asynccontextmanager
async def post_office() -> AsyncIterator[PostOffice]:
    """One that listens."""
    office = PostOffice()
    server = await asyncio.start_server(office.talk, "127.0.0.1", 0)
    office.port = server.sockets[0].getsockname()[1]
    yield office
    server.close()


def mailer_for(port: int) -> Mailer:
    """Sends to the server on this port."""
    return Mailer(
        Settings(
            mail_host="127.0.0.1",
            mail_port=port,
            mail_encryption="none",
            mail_from_address="orders@acme.example",
        )
    )
