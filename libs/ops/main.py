"""The operators' command line `kv-erp`; each command lives in a module of ops.commands."""

import typer

from ops.commands import (
    backup,
    config,
    db,
    events,
    failed_jobs,
    mail,
    secrets,
    tenants,
    token,
    tokens,
    users,
)
from ops.commands.audit import audit
from ops.commands.demo import demo
from ops.commands.migrate import migrate
from ops.commands.operator import operator
from ops.commands.queues import queues
from ops.commands.seed import seed
from ops.commands.up import up

app = typer.Typer(
    name="kv-erp",
    help="Run, try, and operate kv-erp.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)
app.command()(up)
app.command()(demo)
app.command()(audit)
app.command()(migrate)
app.command()(queues)
app.command()(seed)
app.command()(operator)
app.add_typer(token.app, name="token")
app.add_typer(tenants.app, name="tenants")
app.add_typer(users.app, name="users")
app.add_typer(tokens.app, name="tokens")
app.add_typer(db.app, name="db")
app.add_typer(secrets.app, name="secrets")
app.add_typer(backup.app, name="backup")
app.add_typer(config.app, name="config")
app.add_typer(events.app, name="events")
app.add_typer(mail.app, name="mail")
app.add_typer(failed_jobs.app, name="failed-jobs")
