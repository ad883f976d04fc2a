"""What a mail says and how it is written down: letters from templates, as RFC 5322 messages."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

# RFC 5322 allows 998 characters a line; more than this nobody reads.
LONGEST_SUBJECT = 200


@dataclass(frozen=True)
class Letter:
    """What a mail says, once as text and once as HTML."""

    subject: str
    text: str
    html: str


class Letters:
    """The letters of a service, made from `<kind>.subject.txt`, `<kind>.txt` and `<kind>.html`.

    Args:
        folder: where the templates are.
    """

    def __init__(self, folder: Path) -> None:
        self._templates = Environment(
            loader=FileSystemLoader(folder),
            # What people typed is text, in HTML too; the plain text knows no markup.
            autoescape=select_autoescape(("html",), default=False),
            # A template that names what is not there is a mistake, not an empty place.
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def write(self, kind: str, values: Mapping[str, Any]) -> Letter:
        """The letter of a kind, with these values in it."""
        subject, text, html = (
            self._templates.get_template(f"{kind}.{part}").render(values)
            for part in ("subject.txt", "txt", "html")
        )
        return Letter(one_line(subject)[:LONGEST_SUBJECT], text, html)


@dataclass(frozen=True)
class Mail:
    """A letter to one person."""

    # Of the job that sends it: a mail that comes twice has the same Message-ID both times.
    id: UUID
    recipient: str
    letter: Letter
    sender_name: str = ""

    def message(self, sender_address: str, default_name: str = "") -> EmailMessage:
        """The mail as it travels, from this name if it has none of its own.

        No header can hold a second one: a value with a line break is a ValueError, and what people
        typed comes through `one_line`.
        """
        message = EmailMessage(policy.SMTP)
        message["Message-ID"] = f"<{self.id}@{sender_address.rpartition('@')[2]}>"
        message["Date"] = format_datetime(datetime.now(UTC))
        message["From"] = Address(
            one_line(self.sender_name or default_name), addr_spec=sender_address
        )
        message["To"] = Address(addr_spec=self.recipient)
        message["Subject"] = one_line(self.letter.subject)
        # RFC 3834: no answer of a machine, please.
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(self.letter.text)
        message.add_alternative(self.letter.html, subtype="html")
        return message


def one_line(text: str) -> str:
    """The text without control characters, so that it is one line wherever it stands."""
    plain = ("" if unicodedata.category(sign) in {"Cc", "Cs"} else sign for sign in _spaced(text))
    return " ".join("".join(plain).split())


def _spaced(text: str) -> str:
    # Line breaks of all kinds part words.
    return " ".join(text.splitlines())
