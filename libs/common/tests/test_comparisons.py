"""Comparisons of a filter, as the database makes them."""

from uuid import UUID

import pytest
from sqlalchemy import BigInteger, Text, column, select, values

from common.comparisons import Amount, Field, compare
from common.database import Database
from common.filters import Comparison
from common.testing import as_user

# 1,200 yen, 12 euro, 1.200 dinar: one number in minor units.
_PRICES = values(column("minor", BigInteger), column("currency", Text), name="prices").data(
    [(1200, "JPY"), (1200, "EUR"), (1200, "BHD")]
)


@pytest.mark.parametrize(
    ("operator", "value", "found"),
    [
        ("=", "1200", {"JPY"}),
        ("=", "12.00", {"EUR"}),
        ("=", "1.2", {"BHD"}),
        (">", "11.999", {"JPY", "EUR"}),
        ("<=", "12", {"EUR", "BHD"}),
        ("!=", "12", {"JPY", "BHD"}),
        ("<", "-0.000001", set()),
    ],
)
async def test_an_amount_is_compared_in_the_unit_that_people_write(
    database: Database, tenant: UUID, operator: str, value: str, found: set[str]
) -> None:
    amount = Field(Amount(_PRICES.c.minor, _PRICES.c.currency))
    condition = compare(amount, Comparison("price.amount", operator, value))

    with as_user(tenant):
        async with database.read_transaction() as tx:
            rows = await tx.rows(select(_PRICES.c.currency).where(condition))

    assert {row.currency for row in rows} == found
