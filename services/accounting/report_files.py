"""Reports in files: how they are written by jobs."""

from collections.abc import AsyncIterator
from datetime import date
from uuid import UUID

from accounting.trial_balance import weigh
from common import jobs
from common.database import Transaction
from common.files.exports import Export, write_out
from common.files.tabular import Columns
from erp.accounting.v1.jobs_pb2 import RunTrialBalanceExport

COLUMNS = Columns(("account_code", "account_name", "debit", "credit", "currency_code"))


async def trial_balance(tx: Transaction, export: Export) -> AsyncIterator[list[list[str]]]:
    """The rows of the trial balance of the export's day."""
    as_of = date.fromisoformat(export.about) if export.about else None
    balance = await weigh(tx, as_of)
    yield [
        [row.account_code, row.account_name, row.debit.amount, row.credit.amount, balance.currency]
        for row in balance.to_wire().rows
    ]


@jobs.handles(RunTrialBalanceExport, queue="low", tries=5, timeout=300)
async def run_trial_balance(work: jobs.Work[RunTrialBalanceExport]) -> None:
    """Write the trial balance to a file."""
    await write_out(work, UUID(work.message.export_id), COLUMNS, trial_balance)
