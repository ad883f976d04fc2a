"""Gapless numbers per tenant, series and year: taken in the transaction that uses them."""

from datetime import UTC, datetime

from sqlalchemy import text

from common.database import Transaction
from common.figures import Figure

_TAKE = text("""
    INSERT INTO number_series AS series (series, year, last) VALUES (:series, :year, :count)
    ON CONFLICT (tenant_id, series, year) DO UPDATE SET last = series.last + :count
    RETURNING last
""")

DOCUMENTS = Figure(
    "kv_erp_documents_total",
    "Documents numbered since the beginning, by series: orders SO, invoices INV and so on.",
    "SELECT series, sum(last) FROM number_series GROUP BY series",
    ("series",),
    only_grows=True,
)


async def take(tx: Transaction, series: str, count: int, year: int | None = None) -> list[str]:
    """The next numbers of a series, such as "SO-2026-000001".

    The series stays locked until the transaction ends, so that a rollback gives the numbers back
    and none is missing.

    Args:
        tx: the transaction that uses the numbers.
        series: the prefix, such as "SO".
        count: how many.
        year: today's (UTC) when absent; 0 for a series without years, such as "C-000001".
    """
    if not count:
        return []
    of_year = datetime.now(UTC).year if year is None else year
    last = await tx.scalar(_TAKE, {"series": series, "year": of_year, "count": count})
    prefix = f"{series}-{of_year}-" if of_year else f"{series}-"
    return [f"{prefix}{number:06d}" for number in range(last - count + 1, last + 1)]
