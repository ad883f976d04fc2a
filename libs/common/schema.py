"""How tables are declared and protected: tenant first, row security forced, rights by role."""

from collections.abc import Sequence

from sqlalchemy import BigInteger, Column, DateTime, MetaData, Table, func, text
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.schema import SchemaItem

TENANT = text("(current_setting('erp.tenant_id'::text))::uuid")


def tenant_table(name: str, metadata: MetaData, *items: SchemaItem) -> Table:
    """A table whose rows belong to one tenant: `tenant_id` is first and filled in by itself."""
    tenant_id = Column("tenant_id", UUID(as_uuid=True), primary_key=True, server_default=TENANT)
    return Table(name, metadata, tenant_id, *items)


def id_column() -> Column[object]:
    """The row's own id, UUIDv7, made by the caller."""
    return Column("id", UUID(as_uuid=True), primary_key=True)


def version_columns() -> tuple[Column[int], Column[object], Column[object]]:
    """What every aggregate carries: its version, and when it was created and last changed."""
    return (
        Column("version", BigInteger, nullable=False, server_default=text("1")),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
        Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )


def protect(service: str, table: str, *, append_only: bool = False) -> str:
    """SQL that forces row security on a table and grants the service's roles what they may do.

    Args:
        service: its roles are {service}_app, which sees its tenant only, and {service}_system,
            which sees all.
        table: the table.
        append_only: UPDATE and DELETE are not granted, so corrections have to be new rows.
    """
    rights = "SELECT, INSERT" if append_only else "SELECT, INSERT, UPDATE, DELETE"
    mine = "tenant_id = current_setting('erp.tenant_id')::uuid"
    return f"""
        ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;
        ALTER TABLE {table} FORCE ROW LEVEL SECURITY;
        CREATE POLICY {table}_tenant ON {table} TO {service}_app USING ({mine}) WITH CHECK ({mine});
        CREATE POLICY {table}_system ON {table} TO {service}_system USING (true) WITH CHECK (true);
        GRANT {rights} ON {table} TO {service}_app;
        GRANT SELECT, DELETE ON {table} TO {service}_system;
    """


def removable(service: str) -> str:
    """SQL that lets the system role remove rows of all tables: of tenants that are deleted."""
    return f"""
        DO $$
        DECLARE
            name text;
        BEGIN
            FOR name IN
                SELECT c.relname FROM pg_class AS c
                JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum = 1
                WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
                  AND NOT c.relispartition AND a.attname = 'tenant_id'
            LOOP
                EXECUTE format('GRANT DELETE ON %I TO {service}_system', name);
            END LOOP;
        END $$;
    """  # noqa: S608 (the name of a service)


def protect_all(service: str, tables: Sequence[str], append_only: Sequence[str] = ()) -> str:
    """`protect` for each of the tables; those also named in `append_only` can only grow."""
    return "".join(protect(service, table, append_only=table in append_only) for table in tables)


# What every service's database has besides its own tables: its events, its places in others'
# events, what failed.
EVENT_TABLES = """
    CREATE TABLE event_heads (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        sequence bigint NOT NULL,
        changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
        PRIMARY KEY (tenant_id)
    ) WITH (fillfactor = 50);

    CREATE TABLE events (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        sequence bigint NOT NULL,
        id uuid NOT NULL,
        type text NOT NULL,
        subject text NOT NULL,
        occurred_at timestamptz NOT NULL,
        data bytea NOT NULL,
        request_id text NOT NULL DEFAULT '',
        PRIMARY KEY (tenant_id, sequence)
    );

    CREATE TABLE subscriptions (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        listener text NOT NULL,
        source text NOT NULL,
        position bigint NOT NULL DEFAULT 0,
        attempts int NOT NULL DEFAULT 0,
        retry_at timestamptz,
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, listener, source)
    ) WITH (fillfactor = 50);

    CREATE TABLE failed_jobs (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL,
        kind text NOT NULL,
        name text NOT NULL,
        source text NOT NULL,
        sequence bigint NOT NULL,
        payload bytea NOT NULL,
        error text NOT NULL,
        attempts int NOT NULL,
        request_id text NOT NULL DEFAULT '',
        failed_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id)
    );
"""
# Existing events become the partition of the months until now. Its number is still unique: it is
# taken under the lock of the tenant's head.
PARTITIONED_EVENTS = """
    ALTER TABLE events DROP CONSTRAINT events_pkey;
    ALTER TABLE events ALTER occurred_at SET DEFAULT now();
    ALTER TABLE events RENAME TO events_until_now;
    CREATE TABLE events (LIKE events_until_now INCLUDING DEFAULTS, PRIMARY KEY
        (tenant_id, sequence, occurred_at)) PARTITION BY RANGE (occurred_at);
    DO $$
    DECLARE
        month CONSTANT timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
        part CONSTANT text := 'events' || to_char(month, '_YYYYMMDD');
    BEGIN
        EXECUTE format('ALTER TABLE events_until_now RENAME TO %I', part);
        EXECUTE format('ALTER TABLE events ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)',
                       part, month + interval '1 month' || '+00');
        EXECUTE format('DROP POLICY events_tenant ON %I', part);
        EXECUTE format('DROP POLICY events_system ON %I', part);
        EXECUTE format('REVOKE ALL ON %I FROM {service}_app, {service}_system', part);
    END $$;
"""


def partitioned_events(service: str) -> str:
    """SQL that gives the table of `event_tables` a partition a month."""
    events = PARTITIONED_EVENTS.format(service=service)
    return events + protect(service, "events", append_only=True)


def traced(*tables: str) -> str:
    """SQL that lets rows know the trace of what caused them (W3C traceparent)."""
    column = "ADD COLUMN traceparent text NOT NULL DEFAULT ''"
    return "".join(f"ALTER TABLE {table} {column};" for table in tables)


EVENT_TABLE_NAMES = ("event_heads", "events", "subscriptions", "failed_jobs")


def event_tables(service: str) -> str:
    """SQL that creates and protects the tables of the outbox, event log and subscriptions."""
    return EVENT_TABLES + protect_all(service, EVENT_TABLE_NAMES, append_only=("events",))


# A series of gapless numbers: the row is locked by whoever takes numbers, until that transaction
# ends.
NUMBER_SERIES = """
    CREATE TABLE number_series (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        series text NOT NULL,
        year int NOT NULL,
        last bigint NOT NULL,
        PRIMARY KEY (tenant_id, series, year)
    ) WITH (fillfactor = 50);
"""


def number_series(service: str) -> str:
    """SQL that creates and protects the table behind `common.numbers`."""
    return NUMBER_SERIES + protect(service, "number_series")
