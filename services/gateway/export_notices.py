"""Who asked for an archive of the company is told by mail that it can be fetched."""

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from sqlalchemy import text

from common import jobs, mailing
from common.mail import Letters
from common.mailing import TRIES, Addressed
from common.mails import MailKey
from common.transaction import Transaction
from erp.gateway.v1.jobs_pb2 import TenantExportMail
from gateway import tenant_exports

__all__ = ["send_ready"]

_LETTERS = Letters(Path(__file__).with_name("templates"))
_ASKED = text("""
    SELECT coalesce(nullif(users.name, ''), email) AS name, email, tenants.name AS company,
           export.id, bytes, parts.count AS parts, expires_at
    FROM tenant_exports AS export
    JOIN users ON export.requested_by = 'user:' || users.id
    CROSS JOIN tenants
    CROSS JOIN LATERAL (
        SELECT count(*) FROM tenant_export_parts WHERE export_id = export.id
    ) AS parts
    WHERE export.id = :id AND expires_at > now() AND users.state = 'active'
""")


@jobs.handles(TenantExportMail, queue=tenant_exports.QUEUE, tries=TRIES)
async def send_ready(work: jobs.Work[TenantExportMail]) -> None:
    """Write to who asked that the archive is whole. Software that asked is not written to."""
    await mailing.send(work, _Ready(UUID(work.message.export_id)))


@dataclass(frozen=True)
class _Ready:
    """The letter about one archive."""

    export_id: UUID

    @property
    def key(self) -> MailKey:
        """One archive is told of once."""
        return MailKey("tenant export ready", self.export_id)

    async def address(self, tx: Transaction) -> Addressed | None:
        """The letter; None when no user of the company asked, or the archive's week is over."""
        row = await tx.row(_ASKED, {"id": self.export_id})
        if row is None:
            return None
        values = {**row._asdict(), "expires": f"{row.expires_at:%Y-%m-%d %H:%M} UTC"}
        return Addressed(row.email, row.company, _LETTERS.write("tenant_export_ready", values))
