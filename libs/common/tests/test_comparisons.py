"""Comparisons of a filter, as the database makes them."""

from uuid import UUID

import pytest
from sqlalchemy import BigInteger, Text, column, select, values
from sqlalchemy.dialects import postgresql

from common import ids
from common.comparisons import Amount, Field, TimeOfId, compare
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


# Made at .999, .000 and .001 of a second, the second one between .000 and .001.
_NOON = 1_774_958_400_000
_IDS = values(column("name", Text), column("id", postgresql.UUID(as_uuid=True)), name="made").data(
    [
        (name, UUID(int=ids.first_of(_NOON + milliseconds).int + 5))
        for name, milliseconds in (("before", -1), ("at", 0), ("after", 1))
    ]
)


@pytest.mark.parametrize(
    ("operator", "value", "found"),
    [
        ("=", "2026-03-31T12:00:00Z", {"at"}),
        ("=", "2026-03-31T12:00:00.0005Z", set()),
        ("!=", "2026-03-31T14:00:00+02:00", {"before", "after"}),
        ("<", "2026-03-31T12:00:00Z", {"before"}),
        ("<=", "2026-03-31T12:00:00Z", {"before", "at"}),
        ("<", "2026-03-31T12:00:00.0005Z", {"before", "at"}),
        (">", "2026-03-31T12:00:00Z", {"after"}),
        (">=", "2026-03-31T12:00:00Z", {"at", "after"}),
        (">=", "2026-03-31T12:00:00.0005Z", {"after"}),
        (">", "1066-10-14T09:00:00Z", {"before", "at", "after"}),
        ("<", "1066-10-14T09:00:00Z", set()),
    ],
)
async def test_a_time_is_found_in_the_ids_that_were_made_then(
    database: Database, tenant: UUID, operator: str, value: str, found: set[str]
) -> None:
    condition = compare(Field(TimeOfId(_IDS.c.id)), Comparison("time", operator, value))

    with as_user(tenant):
        async with database.read_transaction() as tx:
            rows = await tx.rows(select(_IDS.c.name).where(condition))

    assert {row.name for row in rows} == found
