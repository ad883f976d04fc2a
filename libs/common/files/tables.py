"""The tables behind imports and exports, in the databases of the services that have them."""

from dataclasses import replace

from common.database import Database
from common.duties import Duty
from common.partitions import Kept, keep_partitions
from common.schema import protect

# For a month, and until the month is over.
IMPORTS = Kept("imports", "month", 30)
EXPORTS = Kept("exports", "month", 30)
EXPORT_PARTS = Kept("export_parts", "month", 30)

_IMPORTS = """
    CREATE TABLE imports (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL,
        job_id uuid NOT NULL,
        format text NOT NULL,
        atomic boolean NOT NULL,
        dry_run boolean NOT NULL,
        content text NOT NULL,
        state text NOT NULL DEFAULT 'waiting',
        total_rows int NOT NULL DEFAULT 0,
        processed_rows int NOT NULL DEFAULT 0,
        created_rows int NOT NULL DEFAULT 0,
        updated_rows int NOT NULL DEFAULT 0,
        unchanged_rows int NOT NULL DEFAULT 0,
        failed_rows int NOT NULL DEFAULT 0,
        errors jsonb NOT NULL DEFAULT '[]',
        error text NOT NULL DEFAULT '',
        created_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz,
        PRIMARY KEY (tenant_id, id, created_at),
        CONSTRAINT imports_state_check CHECK (
            state IN ('waiting', 'running', 'succeeded', 'failed')),
        CONSTRAINT imports_finished_check CHECK (
            (state IN ('succeeded', 'failed')) = (finished_at IS NOT NULL)),
        CONSTRAINT imports_rows_check CHECK (
            processed_rows = created_rows + updated_rows + unchanged_rows + failed_rows)
    ) PARTITION BY RANGE (created_at);
"""
_EXPORTS = """
    CREATE TABLE exports (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL,
        job_id uuid NOT NULL,
        format text NOT NULL,
        -- What the export is about beyond its kind, such as a day.
        about text NOT NULL DEFAULT '',
        state text NOT NULL DEFAULT 'waiting',
        total_rows int NOT NULL DEFAULT 0,
        created_at timestamptz NOT NULL DEFAULT now(),
        finished_at timestamptz,
        PRIMARY KEY (tenant_id, id, created_at),
        CONSTRAINT exports_state_check CHECK (state IN ('waiting', 'succeeded'))
    ) PARTITION BY RANGE (created_at);

    CREATE TABLE export_parts (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        export_id uuid NOT NULL,
        number int NOT NULL,
        body text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, export_id, number, created_at)
    ) PARTITION BY RANGE (created_at);
"""


def import_tables(service: str) -> str:
    """SQL that creates and protects the table of imports."""
    return _IMPORTS + protect(service, "imports") + IMPORTS.roll()


def export_tables(service: str) -> str:
    """SQL that creates and protects the tables of exports."""
    protected = protect(service, "exports") + protect(service, "export_parts")
    return _EXPORTS + protected + EXPORTS.roll() + EXPORT_PARTS.roll()


def keep_files(database: Database, *tables: Kept) -> Duty:
    """The duty to drop files that are old."""
    return replace(keep_partitions(database, tables), name="keep partitions of files")
