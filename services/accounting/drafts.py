"""Journal entries that do not count yet."""

from collections.abc import Sequence
from uuid import UUID

from sqlalchemy import delete, text

from accounting.books import PostingAccount
from accounting.entries import JournalEntry, Line, Source
from accounting.tables import entry_draft_lines, entry_drafts
from common.bulk import insert_rows
from common.database import Transaction


async def keep(tx: Transaction, entry: JournalEntry) -> None:
    """Store a draft."""
    draft = {
        "id": entry.id,
        "date": entry.date,
        "description": entry.description,
        "currency": entry.currency,
        "created_at": entry.created_at,
    }
    lines = [
        {
            "draft_id": entry.id,
            "position": position,
            "account_id": line.account.id,
            "debit_minor": line.debit,
            "credit_minor": line.credit,
            "description": line.description,
        }
        for position, line in enumerate(entry.lines, 1)
    ]
    await insert_rows(tx, entry_drafts, [draft])
    await insert_rows(tx, entry_draft_lines, lines)


_FIND = text("""
    SELECT draft.id, draft.date, draft.description, draft.currency, draft.created_at,
           line.account_id, account.code, line.debit_minor, line.credit_minor,
           line.description AS line_description
    FROM entry_drafts AS draft
    JOIN entry_draft_lines AS line
        ON line.tenant_id = draft.tenant_id AND line.draft_id = draft.id
    JOIN accounts AS account
        ON account.tenant_id = line.tenant_id AND account.id = line.account_id
    WHERE draft.id = ANY(CAST(:ids AS uuid[]))
    ORDER BY draft.id, line.position
""")


async def find(tx: Transaction, draft_ids: Sequence[UUID]) -> dict[UUID, JournalEntry]:
    """Those of the drafts that exist, by id."""
    found: dict[UUID, JournalEntry] = {}
    lines: dict[UUID, list[Line]] = {}
    for row in await tx.rows(_FIND, {"ids": list(draft_ids)}) if draft_ids else ():
        account = PostingAccount(row.account_id, row.code)
        line = Line(account, row.debit_minor, row.credit_minor, row.line_description)
        lines.setdefault(row.id, []).append(line)
        found[row.id] = JournalEntry(
            id=row.id,
            date=row.date,
            description=row.description,
            currency=row.currency,
            lines=tuple(lines[row.id]),
            source=Source("manual", row.id),
            created_at=row.created_at,
        )
    return found


async def remove(tx: Transaction, draft_ids: Sequence[UUID]) -> None:
    """Forget drafts that have been posted."""
    if draft_ids:
        await tx.execute(delete(entry_drafts).where(entry_drafts.c.id.in_(draft_ids)))
