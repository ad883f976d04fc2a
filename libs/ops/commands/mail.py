"""`kv-erp mail`: what the local stack's mailbox received."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ops.commands.console import (
    AsJson,
    failures_as_sentences,
    out,
    print_json,
    running_state,
)
from ops.errors import StackFailure
from ops.mailbox import StoredMail, mails_in

_HEADERS = ("Date", "From", "To", "Subject", "Message-ID")

app = typer.Typer(no_args_is_help=True, help="Mail that the local stack sent.")


@app.command("list")
def list_mails(
    to: Annotated[str, typer.Option(help="Only mail to this address.")] = "",
    as_json: AsJson = False,
) -> None:
    """List all mail, oldest first."""
    with failures_as_sentences():
        found = [mail for mail in _mails() if to in ("", str(mail.message["Delivered-To"]))]
    rows = [
        {
            "name": mail.name,
            "to": str(mail.message["Delivered-To"]),
            "subject": str(mail.message["Subject"]),
        }
        for mail in found
    ]
    if as_json:
        print_json(rows)
        return
    table = Table("name", "to", "subject", box=None)
    for row in rows:
        table.add_row(*row.values())
    out.print(table if rows else "No mail.")


@app.command("show")
def show(
    name: Annotated[
        str, typer.Argument(help="As `list` prints it; the newest mail if absent.")
    ] = "",
    html: Annotated[bool, typer.Option("--html", help="The HTML part.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print one mail."""
    with failures_as_sentences():
        mail = _mail(name)
    headers = {header: str(mail.message[header]) for header in _HEADERS}
    body = mail.body("html" if html else "plain")
    if as_json:
        print_json({"name": mail.name, "headers": headers, "body": body})
        return
    for header, value in headers.items():
        typer.echo(f"{header}: {value}")
    typer.echo(f"\n{body}")


def _mail(name: str) -> StoredMail:
    mails = _mails()
    if not mails:
        raise StackFailure("There is no mail.")
    wanted = [mail for mail in mails if name in ("", mail.name)]
    if not wanted:
        raise StackFailure(f"There is no mail {name}; `kv-erp mail list` shows all.")
    return wanted[-1]


def _mails() -> list[StoredMail]:
    state = running_state()
    if "mailbox" not in state:
        raise StackFailure(f"Mail goes to {state.get('smtp')}, which is no mailbox of ours.")
    return mails_in(Path(state["mailbox"]))
