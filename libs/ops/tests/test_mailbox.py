"""The mailbox, and what `kv-erp mail` shows of it."""

import json
import smtplib
from email.message import EmailMessage
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ops.mailbox import Mailbox
from ops.main import app
from ops.ports import HOST


def _mail(to: str, subject: str) -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "us@acme.example", to, subject
    message["Message-ID"] = "<7@acme.example>"
    message.set_content("Grüße\n")
    message.add_alternative("<b>Grüße</b>\n", subtype="html")
    return message


def test_mail_can_be_looked_at_and_outlives_the_mailbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Mailbox(tmp_path / "mail") as mailbox:
        with smtplib.SMTP(HOST, mailbox.port) as connection:
            connection.send_message(_mail("a@b.example", "First"))
            connection.send_message(_mail("c@d.example", "Second"))
        state = {"mailbox": str(mailbox.directory), "smtp": mailbox.address}
    (tmp_path / "state.json").write_text(json.dumps(state))
    monkeypatch.setenv("KV_ERP_DEV_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")

    def kv_erp(*words: str) -> str:
        return CliRunner().invoke(app, ["mail", *words]).output

    listed = kv_erp("list").splitlines()[1:]
    only = kv_erp("list", "--to", "c@d.example")
    newest = kv_erp("show")
    first = kv_erp("show", listed[0].split()[0], "--html")

    assert [line.split()[1:] for line in listed] == [
        ["a@b.example", "First"],
        ["c@d.example", "Second"],
    ]
    assert "First" not in only
    assert "Subject: Second" in newest
    assert "Message-ID: <7@acme.example>" in newest
    assert "Grüße" in newest
    assert "<b>Grüße</b>" in first
    assert "no mail 12" in kv_erp("show", "12")
