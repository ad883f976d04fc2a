"""`kv-erp mail`: what the local stack's mailbox received."""

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from ops.commands.console import failures_as_sentences, out, running_state
from ops.errors import StackFailure
from ops.mailbox import StoredMail, mails_in

app = typer.Typer(no_args_is_help=True, help="Mail that the local stack sent.")


@app.command("list")
def list_mails(
    to: Annotated[str, typer.Option(help="Only mail to this address.")] = "",
) -> None:
    """List all mail, oldest first."""
    with failures_as_sentences():
        found = [mail for mail in _mails() if to in ("", str(mail.message["Delivered-To"]))]
    table = Table("name", "to", "subject", box=None)
    for mail in found:
        message = mail.message
        table.add_row(mail.name, str(message["Delivered-To"]), str(message["Subject"]))
    out.print(table if found else "No mail.")


@app.command("show")
def show(
    name: Annotated[
        str, typer.Argument(help="As `list` prints it; the newest mail if absent.")
    ] = "",
    html: Annotated[bool, typer.Option("--html", help="The HTML part.")] = False,
) -> None:
    """Print one mail."""
    with failures_as_sentences():
        mail = _mail(name)
    for header in ("Date", "From", "To", "Subject", "Message-ID"):
        typer.echo(f"{header}: {mail.message[header]}")
    typer.echo(f"\n{mail.body('html' if html else 'plain')}")


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
