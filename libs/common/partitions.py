"""Tables that are kept for a time: a partition a day, made ahead and dropped when it is old."""

from collections.abc import Mapping

import structlog
from sqlalchemy import text

from common.database import Database
from common.duties import Duty

SYSTEM_REASON = "partitions"
EVERY_SECONDS = 3600.0
# Workers may be away for this long before there is nowhere to write.
AHEAD_DAYS = 30

log = structlog.get_logger()


# It runs as the owner of the tables, since nobody else may create or drop any. A partition is
# reached through its table only: by itself it shows nothing to anybody.
ROLL_PARTITIONS = """
    CREATE FUNCTION roll_partitions(parent text, keep_days int, ahead_days int) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    DECLARE
        today CONSTANT date := (now() AT TIME ZONE 'UTC')::date;
        day date;
        part text;
    BEGIN
        FOR day IN SELECT today + n FROM generate_series(-1, ahead_days) AS n LOOP
            part := parent || to_char(day, '_YYYYMMDD');
            CONTINUE WHEN to_regclass('public.' || quote_ident(part)) IS NOT NULL;
            EXECUTE format('CREATE TABLE public.%I PARTITION OF public.%I
                                FOR VALUES FROM (%L) TO (%L)',
                           part, parent, day || ' 00:00+00', (day + 1) || ' 00:00+00');
            EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY,
                                FORCE ROW LEVEL SECURITY', part);
        END LOOP;
        FOR part IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = to_regclass('public.' || quote_ident(parent))
              AND right(c.relname, 8) < to_char(today - keep_days, 'YYYYMMDD')
        LOOP
            EXECUTE format('DROP TABLE public.%I', part);
        END LOOP;
    END $$;
    REVOKE ALL ON FUNCTION roll_partitions FROM PUBLIC;
"""


def rolling_partitions(service: str) -> str:
    """SQL that creates `roll_partitions`, for the service's system role to call."""
    return ROLL_PARTITIONS + f"GRANT EXECUTE ON FUNCTION roll_partitions TO {service}_system;"


def rolled(table: str, keep_days: int) -> str:
    """SQL that makes the first partitions of a table which is partitioned by time."""
    return f"SELECT roll_partitions('{table}', {keep_days}, {AHEAD_DAYS});"


def keep_partitions(database: Database, kept_days: Mapping[str, int]) -> Duty:
    """The duty to make these tables' partitions ahead, and to drop them after so many days."""

    async def roll() -> None:
        for table, days in kept_days.items():
            async with database.system_transaction(SYSTEM_REASON) as connection:
                # Creating one waits for all who use the table, and everybody for it: not for long.
                await connection.execute(text("SET LOCAL lock_timeout = '1s'"))
                await connection.execute(text(rolled(table, days)))

    return Duty("keep partitions", EVERY_SECONDS, roll)
