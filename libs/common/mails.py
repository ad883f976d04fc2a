"""Which mails people were sent, and how far each came: what keeps one from being sent twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import text

from common.schema import protect
from common.transaction import Transaction

# The server had agreed to take it when it was last heard of: it may have been sent or not.
SENDING = "sending"
SENT = "sent"
# It may have been sent or not, and people were told so: it is sent again when they want it.
UNKNOWN = "unknown"

# For the migration of a service that sends mail.
_MAILS = """
    CREATE TABLE mails (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        kind text NOT NULL,
        subject_id uuid NOT NULL,
        job_id uuid NOT NULL,
        state text NOT NULL,
        recipient text NOT NULL,
        changed_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, kind, subject_id),
        CONSTRAINT mails_state_check CHECK (state IN ('sending', 'sent', 'unknown'))
    ) WITH (fillfactor = 70);
"""

_FIND = text("""
    SELECT kind, subject_id, job_id, state FROM mails
    WHERE kind = :kind AND subject_id = :subject_id
""")
_BEGIN = text("""
    INSERT INTO mails (kind, subject_id, job_id, state, recipient)
    VALUES (:kind, :subject_id, :job_id, 'sending', :recipient)
    ON CONFLICT (tenant_id, kind, subject_id)
        DO UPDATE SET state = 'sending', recipient = :recipient, changed_at = now()
        WHERE mails.state = 'unknown'
""")
_MOVE = text("""
    UPDATE mails SET state = :state, changed_at = now()
    FROM unnest(CAST(:kinds AS text[]), CAST(:subject_ids AS uuid[])) AS mail (kind, subject_id)
    WHERE mails.tenant_id = :tenant_id
        AND mails.kind = mail.kind AND mails.subject_id = mail.subject_id
""")
_FORGET = text("""
    DELETE FROM mails WHERE kind = :kind AND subject_id = :subject_id AND state = 'sending'
""")


@dataclass(frozen=True)
class MailKey:
    """A mail that is sent once: its kind, and what it is about, such as an order."""

    kind: str
    subject_id: UUID

    def columns(self, **others: object) -> dict[str, Any]:
        """Its columns, and others."""
        return {"kind": self.kind, "subject_id": self.subject_id, **others}


async def find_state(tx: Transaction, key: MailKey) -> str | None:
    """How far a mail came; None when it was never begun, or was surely not taken."""
    row = await tx.row(_FIND, key.columns())
    return None if row is None else str(row.state)


async def begin(tx: Transaction, key: MailKey, job_id: UUID, recipient: str) -> None:
    """Note that a mail is about to be handed over."""
    await tx.execute(_BEGIN, key.columns(job_id=job_id, recipient=recipient))


async def note_sent(tx: Transaction, keys: Sequence[MailKey]) -> None:
    """Note that mails were sent."""
    await _move(tx, keys, SENT)


async def note_unknown(tx: Transaction, key: MailKey) -> None:
    """Note that nobody knows whether a mail was sent."""
    await _move(tx, [key], UNKNOWN)


async def forget(tx: Transaction, key: MailKey) -> None:
    """Note that the server surely did not take a mail that had been begun."""
    await tx.execute(_FORGET, key.columns())


async def _move(tx: Transaction, keys: Sequence[MailKey], state: str) -> None:
    columns = {"kinds": [key.kind for key in keys], "subject_ids": [key.subject_id for key in keys]}
    await tx.execute(_MOVE, {"tenant_id": tx.tenant_id, "state": state, **columns})


def mail_table(service: str) -> str:
    """SQL that creates and protects the table."""
    return _MAILS + protect(service, "mails")
