"""Who is told by mail that a webhook was disabled since it failed for days, and in which words."""

from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from sqlalchemy import select

from common import jobs, mailing
from common.caller import Caller
from common.mail import Letters
from common.mailing import TRIES, Addressed
from common.mails import MailKey
from common.transaction import Transaction
from erp.gateway.v1.jobs_pb2 import WebhookDisabledMail
from gateway import accounts, tables, webhook_tables

__all__ = ["send_disabled", "tell_of_disabled"]

# Who may mend it.
_PERMISSION = "gateway.webhooks.write"
_QUEUE = "low"
_MOST_RECIPIENTS = 20
_LETTERS = Letters(Path(__file__).with_name("templates"))


async def tell_of_disabled(tx: Transaction, webhook_id: UUID) -> None:
    """Write to the users who may enable it again."""
    if not mailing.is_on():
        return
    users = tables.users
    active = select(users.c.id).where(users.c.state == "active").order_by(users.c.id)
    user_ids = [row.id for row in await tx.rows(active)]
    roles = await accounts.roles_by_user(tx, user_ids)
    may = [one for one in user_ids if _may(tx, one, accounts.together(roles.get(one, ())))]
    mails = [
        WebhookDisabledMail(webhook_id=str(webhook_id), user_id=str(user_id))
        for user_id in may[:_MOST_RECIPIENTS]
    ]
    if mails:
        jobs.batch(tx, mails, name=f"mails about webhook {webhook_id}", queue=_QUEUE)


@jobs.handles(WebhookDisabledMail, queue=_QUEUE, tries=TRIES)
async def send_disabled(work: jobs.Work[WebhookDisabledMail]) -> None:
    """Write to somebody that a webhook is disabled."""
    message = work.message
    wanted = _Disabled(MailKey("webhook disabled", work.id), message.webhook_id, message.user_id)
    await mailing.send(work, wanted)


@dataclass(frozen=True)
class _Disabled:
    """The letter to one user."""

    key: MailKey
    webhook_id: str
    user_id: str

    async def address(self, tx: Transaction) -> Addressed | None:
        """The letter; None when it was enabled again meanwhile, or the user was locked out."""
        hooks, users = webhook_tables.webhooks, tables.users
        hook = await tx.row(select(hooks).where(hooks.c.id == UUID(self.webhook_id)))
        reader = await tx.row(select(users).where(users.c.id == UUID(self.user_id)))
        if hook is None or hook.state != "disabled" or reader is None or reader.state != "active":
            return None
        company = await tx.scalar(select(tables.tenants.c.name))
        # What follows the path may be a secret of the receiver's.
        address = urlsplit(hook.url)._replace(query="", fragment="").geturl()
        values = {
            "name": reader.name or reader.email,
            "company": company,
            "url": address,
            "description": hook.description,
            "reason": hook.disabled_reason,
            "id": str(hook.id),
        }
        return Addressed(reader.email, company, _LETTERS.write("webhook_disabled", values))


def _may(tx: Transaction, user_id: UUID, permissions: frozenset[str]) -> bool:
    return Caller(tx.tenant_id, f"user:{user_id}", permissions).may(_PERMISSION)
