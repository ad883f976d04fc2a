"""Letters and how they are written down and handed over."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from common import ids
from common.mail import Letter, Letters, Mail
from common.mailer import Mailer, MailNotTaken, MailOutcomeUnknown, MailRefused
from common.settings import Settings, SettingsError, load_settings
from ops.mailbox import Mailbox

LETTER = Letter("Your order", "Grüße from Acme\n", "<p>Grüße from Acme</p>\n")
NASTY = '<script>alert("1")</script> & Söhne'


@pytest.fixture
def letters(tmp_path: Path) -> Letters:
    (tmp_path / "note.subject.txt").write_text("For {{ name }}\n")
    (tmp_path / "note.txt").write_text("Dear {{ name }}\n")
    (tmp_path / "note.html").write_text("<p>Dear {{ name }}</p>\n")
    return Letters(tmp_path)


@pytest.fixture(scope="module")
def mailbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mailbox]:
    with Mailbox(tmp_path_factory.mktemp("mail") / "mail") as mailbox:
        yield mailbox


def mailer_for(port: int) -> Mailer:
    return Mailer(
        Settings(
            mail_host="127.0.0.1",
            mail_port=port,
            mail_encryption="none",
            mail_from_address="orders@acme.example",
        )
    )


def to(recipient: str = "buy@bluedoor.example", letter: Letter = LETTER, name: str = "") -> Mail:
    return Mail(ids.new(), recipient, letter, name)


async def send(mailer: Mailer, mail: Mail) -> None:
    async with mailer.offering(mail) as offer:
        await offer.hand_over()


def test_what_people_typed_is_no_markup(letters: Letters) -> None:
    letter = letters.write("note", {"name": NASTY})

    assert "<script>" not in letter.html
    assert "&lt;script&gt;" in letter.html
    assert letter.text == f"Dear {NASTY}"


def test_a_template_that_lacks_a_value_is_a_mistake(letters: Letters) -> None:
    with pytest.raises(UndefinedError):
        letters.write("note", {})


@pytest.mark.parametrize("line_break", ["\r\n", "\n", "\r", "\u2028", "\x85", "\x0b", "\x00"])
def test_nobody_can_add_a_header(letters: Letters, line_break: str) -> None:
    evil = f"Acme{line_break}Bcc: all@else.example"

    letter = letters.write("note", {"name": evil})
    written = to(letter=letter, name=evil).message("orders@acme.example").as_bytes()

    read = message_from_bytes(written, policy=policy.default)
    assert read["Bcc"] is None
    assert set(read.keys()) == {
        *("Message-ID", "Date", "From", "To", "Subject", "Auto-Submitted"),
        *("MIME-Version", "Content-Type"),
    }
    assert len(read["From"].addresses) == 1


@pytest.mark.parametrize(
    "recipient", ["", "nobody", "a@b.example\r\nBcc: c@d.example", "a@b.example, c@d.example"]
)
async def test_what_is_no_address_is_refused_before_anything_is_sent(recipient: str) -> None:
    with pytest.raises(MailRefused):
        await send(mailer_for(1), to(recipient))


async def test_a_mail_arrives_as_it_was_written(mailbox: Mailbox) -> None:
    mail = to("arrives@bluedoor.example", name="Tische & Söhne")

    await send(mailer_for(mailbox.port), mail)

    (stored,) = [
        one for one in mailbox.mails() if one.message["Delivered-To"] == "arrives@bluedoor.example"
    ]
    assert stored.message["Message-ID"] == f"<{mail.id}@acme.example>"
    assert str(stored.message["From"]) == "Tische & Söhne <orders@acme.example>"
    assert stored.message["Return-Path"] == "<orders@acme.example>"
    assert stored.body().replace("\r\n", "\n") == LETTER.text
    assert stored.body("html").replace("\r\n", "\n") == LETTER.html


def test_a_mail_without_a_name_of_its_own_comes_from_the_operators() -> None:
    assert str(to().message("a@b.example", "Acme")["From"]) == "Acme <a@b.example>"
    assert str(to(name="Globex").message("a@b.example", "Acme")["From"]) == "Globex <a@b.example>"


async def test_an_offer_that_is_not_handed_over_sends_nothing(mailbox: Mailbox) -> None:
    before = len(mailbox.mails())

    async with mailer_for(mailbox.port).offering(to()):
        pass

    assert len(mailbox.mails()) == before


async def test_a_server_that_is_away_has_not_taken_it() -> None:
    with pytest.raises(MailNotTaken):
        await send(mailer_for(1), to())


Answers = Callable[[str], str | None]


@asynccontextmanager
async def server(answer: Answers) -> AsyncIterator[int]:
    """An SMTP server that answers each line as it is told, and hangs up on None."""
    port = 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode():
            word = line.strip().partition(" ")[0].upper()
            said = answer("." if word == "DATA" else word)
            if word == "DATA":
                writer.write(b"354 go on\r\n")
                await reader.readuntil(b"\r\n.\r\n")
            if said is None:
                break
            writer.write(f"{said}\r\n".encode())
        writer.close()

    listening = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        yield port


@pytest.mark.parametrize(
    ("word", "said", "outcome"),
    [
        ("RCPT", "550 no such mailbox", MailRefused),
        ("RCPT", "450 try later", MailNotTaken),
        ("RCPT", None, MailNotTaken),
        ("MAIL", "421 too busy", MailNotTaken),
        (".", "554 looks like spam", MailRefused),
        (".", "452 disk full", MailNotTaken),
        (".", None, MailOutcomeUnknown),
    ],
)
async def test_how_far_it_came_is_known(word: str, said: str | None, outcome: type) -> None:
    async with server(lambda heard: said if heard == word else "250 fine") as port:
        with pytest.raises(outcome) as refused:
            await send(mailer_for(port), to())

    assert said is None or said in str(refused.value)


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"MAIL_HOST": "smtp.example"}, "MAIL_FROM_ADDRESS"),
        ({"MAIL_USERNAME": "us"}, "MAIL_PASSWORD"),
        (
            {"MAIL_USERNAME": "us", "MAIL_PASSWORD": "secret", "MAIL_ENCRYPTION": "none"},
            "in the clear",
        ),
        ({"MAIL_FROM_ADDRESS": "Acme <a@b.example>"}, "MAIL_FROM_ADDRESS"),
        ({"MAIL_ENCRYPTION": "ssl3"}, "MAIL_ENCRYPTION"),
    ],
)
def test_half_a_mail_server_stops_the_process(variables: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load_settings(variables)

    assert named in str(refused.value)
    assert "secret" not in str(refused.value)
