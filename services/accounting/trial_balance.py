"""The trial balance: what every account comes to, on both sides the same."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text

from accounting.books import currency_of_books
from common.database import Transaction
from common.money import Money
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb


@dataclass(frozen=True)
class Row:
    """One account's balance in minor units: a debit when positive, a credit when negative."""

    account_code: str
    account_name: str
    balance: int


@dataclass(frozen=True)
class TrialBalance:
    """All accounts with a balance, by code."""

    currency: str
    rows: Sequence[Row]

    @property
    def debit(self) -> int:
        """Sum of the debit balances."""
        return sum(row.balance for row in self.rows if row.balance > 0)

    @property
    def credit(self) -> int:
        """Sum of the credit balances; equal to `debit`."""
        return -sum(row.balance for row in self.rows if row.balance < 0)

    def to_wire(self) -> service_pb.TrialBalance:
        """The trial balance as it travels."""
        return service_pb.TrialBalance(
            rows=[
                pb.TrialBalanceRow(
                    account_code=row.account_code,
                    account_name=row.account_name,
                    debit=Money(self.currency, max(row.balance, 0)).to_wire(),
                    credit=Money(self.currency, max(-row.balance, 0)).to_wire(),
                )
                for row in self.rows
            ],
            total_debit=Money(self.currency, self.debit).to_wire(),
            total_credit=Money(self.currency, self.credit).to_wire(),
        )


_NOW = text("""
    SELECT account.code, account.name, sum(total.debit_minor - total.credit_minor) AS balance
    FROM account_totals AS total JOIN accounts AS account ON account.id = total.account_id
    GROUP BY account.code, account.name
    HAVING sum(total.debit_minor - total.credit_minor) <> 0
    ORDER BY account.code
""")
# Whole months from their totals, the month that has only begun from its lines.
_AS_OF = text("""
    WITH asked AS (
        SELECT day, day + 1 - CAST(extract(day FROM day + 1) AS int) + 1 AS month
        FROM (SELECT CAST(:as_of AS date)) AS given (day)
    ), part AS (
        SELECT account_id, debit_minor - credit_minor AS balance
        FROM account_totals WHERE period < (SELECT month FROM asked)
        UNION ALL
        SELECT line.account_id, line.debit_minor - line.credit_minor
        FROM journal_entries AS entry
        JOIN journal_lines AS line
            ON line.tenant_id = entry.tenant_id AND line.entry_id = entry.id
        WHERE entry.date >= (SELECT month FROM asked) AND entry.date <= (SELECT day FROM asked)
    )
    SELECT account.code, account.name, sum(part.balance) AS balance
    FROM part JOIN accounts AS account ON account.id = part.account_id
    GROUP BY account.code, account.name
    HAVING sum(part.balance) <> 0
    ORDER BY account.code
""")


async def weigh(tx: Transaction, as_of: date | None = None) -> TrialBalance:
    """The balance of all accounts up to and including a day, or of everything posted.

    Raises:
        Unavailable: the company's books have not been opened yet.
    """
    currency = await currency_of_books(tx)
    if as_of is None:
        rows = await tx.rows(_NOW)
    else:
        rows = await tx.rows(_AS_OF, {"as_of": as_of})
    return TrialBalance(currency, [Row(row.code, row.name, int(row.balance)) for row in rows])
