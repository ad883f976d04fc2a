"""Tables that are kept for a time: partitions are made ahead and dropped when they are old."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import text

from common.database import Database
from common.duties import Duty

SYSTEM_REASON = "partitions"
EVERY_SECONDS = 3600.0
# Workers may be away for this long before rows go to the default partition, which is never dropped.
AHEAD_DAYS = 30


class Kept(NamedTuple):
    """A table that is partitioned by time, and for how long its rows are kept at least."""

    table: str
    # "day" or "month": how much time is in one partition.
    unit: str
    days: int

    def roll(self) -> str:
        """SQL that makes the partitions to come and drops the old ones."""
        return f"SELECT roll_partitions('{self.table}', '{self.unit}', {self.days}, {AHEAD_DAYS});"


# Answers serve a client that asks again; events those who have to catch up.
ANSWERS, EVENTS = Kept("idempotency_keys", "day", 2), Kept("events", "month", 90)
FINISHED_JOBS = Kept("finished_jobs", "day", 7)


def keep_partitions(
    database: Database, tables: Iterable[Kept] = (ANSWERS, EVENTS, FINISHED_JOBS)
) -> Duty:
    """The duty to make the partitions of these tables ahead, and to drop the old ones."""

    async def roll() -> None:
        for table in tables:
            async with database.system_transaction(SYSTEM_REASON) as connection:
                # Making one waits for all who use the table, and everybody for it: not for long.
                await connection.execute(text("SET LOCAL lock_timeout = '1s'"))
                await connection.execute(text(table.roll()))

    return Duty("keep partitions", EVERY_SECONDS, roll)


def rolling_partitions(service: str) -> str:
    """SQL that creates `roll_partitions`, for the service's system role to call."""
    return ROLL_PARTITIONS + f"GRANT EXECUTE ON FUNCTION roll_partitions TO {service}_system;"


# It runs as the owner of the tables, since nobody else may create or drop any. A partition is
# reached through its table only: by itself it shows nothing to anybody.
ROLL_PARTITIONS = """
    CREATE FUNCTION close_partition(part text) RETURNS void
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
    BEGIN
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY,
                            FORCE ROW LEVEL SECURITY', part);
    END $$;

    CREATE FUNCTION roll_partitions(parent text, unit text, keep_days int, ahead_days int)
    RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    DECLARE
        today CONSTANT timestamp := date_trunc('day', now() AT TIME ZONE 'UTC');
        step CONSTANT interval := ('1 ' || unit)::interval;
        start timestamp;
        part text := parent || '_default';
    BEGIN
        IF to_regclass('public.' || quote_ident(part)) IS NULL THEN
            EXECUTE format('CREATE TABLE public.%I PARTITION OF public.%I DEFAULT', part, parent);
            PERFORM close_partition(part);
        END IF;
        FOR start IN SELECT generate_series(date_trunc(unit, today - interval '1 day'),
                                            today + ahead_days * interval '1 day', step) LOOP
            part := parent || to_char(start, '_YYYYMMDD');
            CONTINUE WHEN to_regclass('public.' || quote_ident(part)) IS NOT NULL;
            BEGIN
                EXECUTE format('CREATE TABLE public.%I PARTITION OF public.%I
                                    FOR VALUES FROM (%L) TO (%L)',
                               part, parent, start || '+00', start + step || '+00');
                PERFORM close_partition(part);
            EXCEPTION WHEN check_violation THEN
                NULL;  -- rows of that time are in the default partition already, and stay there
            END;
        END LOOP;
        FOR part IN
            SELECT child.relname
            FROM pg_inherits JOIN pg_class AS child ON child.oid = inhrelid
            WHERE inhparent = to_regclass('public.' || quote_ident(parent))
              AND child.relname ~ '_[0-9]{8}$'
              AND to_timestamp(right(child.relname, 8), 'YYYYMMDD')::timestamp + step
                  <= today - keep_days * interval '1 day'
        LOOP
            EXECUTE format('DROP TABLE public.%I', part);
        END LOOP;
    END $$;
    REVOKE ALL ON FUNCTION close_partition, roll_partitions FROM PUBLIC;
"""
