"""What sales tells Prometheus of its business."""

from common.figures import Figure
from common.numbers import DOCUMENTS
from sales.confirming import SERIES

# An order takes its number when it is confirmed, and numbers have no gaps: the last ones of all
# tenants and years add up to the orders ever confirmed, each counted once.
BUSINESS = (
    DOCUMENTS,
    Figure(
        "kv_erp_orders_confirmed_total",
        "Orders confirmed since the beginning, of all tenants.",
        f"SELECT coalesce(sum(last), 0) FROM number_series WHERE series = '{SERIES}'",  # noqa: S608 (a constant of ours)
        only_grows=True,
    ),
)
