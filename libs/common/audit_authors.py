"""Which of several commands that shared a transaction stands behind which record."""

from collections.abc import Sequence

from sqlalchemy import text

from common.origin import Author
from common.transaction import Transaction

__all__ = ["put_down"]

_PUT_DOWN = text("""
    INSERT INTO audit_authors (change_id, record_id, author)
    SELECT CAST(current_setting('erp.change_id') AS uuid), made.record_id, made.author
    FROM unnest(CAST(:record_ids AS text[]), CAST(:authors AS int[])) AS made (record_id, author)
    ON CONFLICT DO NOTHING
""")


async def put_down(tx: Transaction, authors: Sequence[Author], outcomes: Sequence[object]) -> None:
    """Put each outcome that is a record down to its command's author.

    Where there is one author for all, the change says it by itself.
    """
    places = {author: place for place, author in enumerate(dict.fromkeys(authors))}
    if len(places) < 2:  # noqa: PLR2004 (several)
        return
    made = [
        (str(record_id), places[author])
        for author, outcome in zip(authors, outcomes, strict=True)
        if (record_id := getattr(outcome, "id", None)) is not None
    ]
    if made:
        record_ids, numbers = zip(*made, strict=True)
        await tx.execute(_PUT_DOWN, {"record_ids": list(record_ids), "authors": list(numbers)})
