"""What accounting tells Prometheus of the business: revenue, as the ledger has it."""

from common import money
from common.figures import Figure
from common.numbers import DOCUMENTS

_DIVISOR = "CASE total.currency {cases} ELSE 100 END".format(
    cases=" ".join(
        f"WHEN '{currency}' THEN {10**decimals}"
        for currency, decimals in money.unusual_decimals().items()
    )
)


def _of_revenue_accounts(side: str) -> str:
    return f"""
        SELECT total.currency, sum({side}_minor) / {_DIVISOR}
        FROM account_totals AS total
             JOIN accounts AS account ON account.tenant_id = total.tenant_id
                                     AND account.id = total.account_id
        WHERE account.kind = 'revenue' GROUP BY total.currency
    """  # noqa: S608 (constants of ours)


# Totals are written with the entries that they add up, so they are as right as the books.
BUSINESS = (
    DOCUMENTS,
    Figure(
        "kv_erp_revenue_total",
        "Revenue posted since the beginning, of all tenants, in units of the currency.",
        _of_revenue_accounts("credit"),
        ("currency",),
        only_grows=True,
    ),
    Figure(
        "kv_erp_revenue_reversed_total",
        "Revenue taken back by credit notes and reversals, in units of the currency.",
        _of_revenue_accounts("debit"),
        ("currency",),
        only_grows=True,
    ),
)
