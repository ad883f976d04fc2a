"""Handing mail over to the SMTP server, so that it is known how far that came (RFC 5321)."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from email.errors import MessageError

from aiosmtplib import SMTP, SMTPDataError, SMTPException, SMTPResponseException

from common.errors import DomainError, StatusCode
from common.mail import Mail
from common.settings import Settings

TIMEOUT_SECONDS = 20.0
_FIRST_FINAL_CODE = 500


@dataclass(eq=False)
class MailNotTaken(DomainError):
    """The server did not take the mail, surely; it may take it later."""

    status = StatusCode.UNAVAILABLE
    detail = "The mail server did not take the mail: {cause}"

    cause: str


@dataclass(eq=False)
class MailRefused(DomainError):
    """The server will not take this mail, surely, and not later either."""

    status = StatusCode.FAILED_PRECONDITION
    detail = "The mail server refuses the mail: {cause}"

    cause: str


@dataclass(eq=False)
class MailOutcomeUnknown(DomainError):
    """The connection broke after the mail was sent and before the server's answer came."""

    status = StatusCode.UNKNOWN
    detail = "The mail may have been sent or not: {cause}"

    cause: str


@dataclass(frozen=True)
class Offer:
    """A mail to whose sender and recipient the server has agreed; nothing of it has been sent."""

    _connection: SMTP
    _content: bytes

    async def hand_over(self) -> None:
        """Send the mail. When this returns, the server has taken it.

        Raises:
            MailNotTaken: it has not.
            MailRefused: it has not and will not.
            MailOutcomeUnknown: it may have.
        """
        try:
            await self._connection.data(self._content)
        except SMTPDataError as error:
            raise _refusal(error) from error
        except (SMTPException, OSError) as error:
            raise MailOutcomeUnknown(_words(error)) from error


class Mailer:
    """Our side of the SMTP server. Each mail has a connection of its own.

    Args:
        settings: say where the server is and whom mail is from.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def is_on(self) -> bool:
        """Whether there is a server to send by."""
        return self._settings.mail_host is not None

    @asynccontextmanager
    async def offering(self, mail: Mail) -> AsyncIterator[Offer]:
        """Offer a mail to the server; inside, it has agreed to take it.

        Raises:
            MailNotTaken: the server is away or busy.
            MailRefused: it does not send to this recipient, or the address is none.
        """
        sender = self._settings.mail_from_address or ""
        content = self._written(mail, sender)
        connection = self._connection()
        try:
            await _open(connection)
            await _agree(connection, sender, mail.recipient)
            yield Offer(connection, content)
        finally:
            # Without QUIT: what was taken is taken, and nobody waits for a server's farewell.
            connection.close()

    def _written(self, mail: Mail, sender: str) -> bytes:
        try:
            return mail.message(sender, self._settings.mail_from_name).as_bytes()
        except (ValueError, MessageError, IndexError) as error:
            raise MailRefused(f"{mail.recipient!r} cannot be written to ({error})") from error

    def _connection(self) -> SMTP:
        settings = self._settings
        password = settings.mail_password
        return SMTP(
            hostname=settings.mail_host,
            port=settings.mail_port,
            username=settings.mail_username,
            password=password.reveal() if password else None,
            use_tls=settings.mail_encryption == "tls",
            start_tls=settings.mail_encryption == "starttls",
            timeout=TIMEOUT_SECONDS,
        )


async def _open(connection: SMTP) -> None:
    try:
        await connection.connect()
    except (SMTPException, OSError) as error:
        # Whatever it says, it says about us, and not about this mail.
        raise MailNotTaken(_words(error)) from error


async def _agree(connection: SMTP, sender: str, recipient: str) -> None:
    try:
        await connection.mail(sender)
        await connection.rcpt(recipient)
    except SMTPResponseException as error:
        raise _refusal(error) from error
    except (SMTPException, OSError) as error:
        raise MailNotTaken(_words(error)) from error


def _refusal(error: SMTPResponseException) -> MailNotTaken | MailRefused:
    kind = MailRefused if error.code >= _FIRST_FINAL_CODE else MailNotTaken
    return kind(_words(error))


def _words(error: Exception) -> str:
    if isinstance(error, SMTPResponseException):
        return f"{error.code} {error.message}"
    return str(error) or type(error).__name__
