"""The tables of the audit log, and the triggers by which no change escapes it."""

from collections.abc import Sequence

from common.schema import protect_all

__all__ = ["AUDIT_TABLES", "audit_tables", "audited", "cascades_audited", "changes_audited"]

AUDIT_TABLES = ("audit_changes", "audit_authors", "audit_entries", "audit_seals")

# A change is a transaction; it has several authors when commands shared it, and then
# audit_authors says who of them stands behind which record. An entry's id is its time: UUIDv7.
_TABLES = """
    CREATE TABLE audit_changes (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL,
        authors jsonb NOT NULL,
        PRIMARY KEY (tenant_id, id)
    );
    CREATE TABLE audit_authors (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        change_id uuid NOT NULL,
        record_id text NOT NULL,
        author int NOT NULL,
        PRIMARY KEY (tenant_id, change_id, record_id)
    );
    CREATE TABLE audit_entries (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL DEFAULT uuidv7(),
        change_id uuid NOT NULL,
        kind text NOT NULL,
        record_id text NOT NULL,
        action text NOT NULL,
        before jsonb,
        after jsonb,
        PRIMARY KEY (tenant_id, id)
    );
    CREATE INDEX audit_entries_record ON audit_entries (tenant_id, record_id, id);
    CREATE TABLE audit_seals (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        number bigint NOT NULL,
        from_id uuid NOT NULL,
        until_id uuid NOT NULL,
        entries bigint NOT NULL,
        digest text NOT NULL,
        hash text NOT NULL,
        sealed_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, number)
    );
"""

# Arguments of the triggers: kind, column with the record's id, columns that are never shown.
# Who works past our code, by psql, is known by the name of the database role.
_FUNCTIONS = """
    CREATE FUNCTION audit_change(tenant uuid) RETURNS uuid
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
    DECLARE
        change uuid := nullif(current_setting('erp.change_id', true), '')::uuid;
        authors text := nullif(current_setting('erp.authors', true), '');
        mark text;
    BEGIN
        IF change IS NULL OR authors IS NULL THEN
            change := uuidv7();
            authors := jsonb_build_array(jsonb_build_object('actor', 'database:' || session_user));
            PERFORM set_config('erp.change_id', change::text, true),
                    set_config('erp.authors', authors, true);
        END IF;
        mark := tenant::text || change;
        IF current_setting('erp.change_written', true) IS DISTINCT FROM mark THEN
            INSERT INTO audit_changes (tenant_id, id, authors)
            VALUES (tenant, change, authors::jsonb) ON CONFLICT DO NOTHING;
            PERFORM set_config('erp.change_written', mark, true);
        END IF;
        RETURN change;
    END $$;

    CREATE FUNCTION audit_inserted() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
    BEGIN
        INSERT INTO audit_entries (tenant_id, change_id, kind, record_id, action, after)
        SELECT made.tenant, audit_change(made.tenant), TG_ARGV[0], made.fields ->> TG_ARGV[1],
               'created', made.fields - TG_ARGV[2:] - 'tenant_id'
        FROM (
            SELECT coalesce(fields ->> 'tenant_id', fields ->> 'id')::uuid AS tenant, fields
            FROM added, jsonb_strip_nulls(to_jsonb(added)) AS fields
        ) AS made;
        RETURN NULL;
    END $$;

    CREATE FUNCTION audit_changed() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
    DECLARE
        hidden CONSTANT text[] := TG_ARGV[2:];
        old_fields CONSTANT jsonb := to_jsonb(OLD);
        tenant CONSTANT uuid := coalesce(old_fields ->> 'tenant_id', old_fields ->> 'id')::uuid;
        was jsonb;
        is_now jsonb;
    BEGIN
        IF TG_OP = 'DELETE' THEN
            was := jsonb_strip_nulls(old_fields) - hidden - 'tenant_id';
        ELSE
            SELECT jsonb_object_agg(key, CASE WHEN key = ANY (hidden) THEN '"…"' ELSE a.value END),
                   jsonb_object_agg(key, CASE WHEN key = ANY (hidden) THEN '"…"' ELSE b.value END)
            INTO was, is_now
            FROM jsonb_each(old_fields) AS a JOIN jsonb_each(to_jsonb(NEW)) AS b USING (key)
            WHERE a.value IS DISTINCT FROM b.value AND key <> 'updated_at';
            IF was IS NULL THEN
                RETURN NULL;
            END IF;
        END IF;
        INSERT INTO audit_entries (tenant_id, change_id, kind, record_id, action, before, after)
        VALUES (tenant, audit_change(tenant), TG_ARGV[0], old_fields ->> TG_ARGV[1],
                CASE TG_OP WHEN 'DELETE' THEN 'deleted' ELSE 'changed' END, was, is_now);
        RETURN NULL;
    END $$;
"""


def audit_tables(service: str) -> str:
    """SQL that creates and protects the audit log of a service, which can only grow."""
    grants = f"GRANT INSERT ON audit_changes, audit_entries TO {service}_system;"
    return _TABLES + protect_all(service, AUDIT_TABLES, AUDIT_TABLES) + grants + _FUNCTIONS


def cascades_audited() -> str:
    """SQL that lets what goes with a record, by ON DELETE CASCADE, be written down as well.

    Such rows are removed by the owner of the tables, who otherwise sees nobody's.
    """
    mine = "tenant_id = current_setting('erp.tenant_id')::uuid"
    return "".join(
        f"CREATE POLICY {table}_cascade ON {table} FOR INSERT TO CURRENT_USER WITH CHECK ({mine});"
        for table in ("audit_changes", "audit_entries")
    )


def audited(table: str, kind: str, record: str = "id", hidden: Sequence[str] = ()) -> str:
    """SQL that has every change of a table's rows written down.

    Args:
        table: the table.
        kind: what a row is, such as "order line".
        record: the column with the id of the record that the row belongs to.
        hidden: columns whose content is nobody's business: secrets, and hashes of secrets.
    """
    inserted = f"""
        CREATE TRIGGER {table}_inserted AFTER INSERT ON {table}
            REFERENCING NEW TABLE AS added
            FOR EACH STATEMENT EXECUTE FUNCTION audit_inserted({_arguments(kind, record, hidden)});
    """
    return inserted + changes_audited(table, kind, record, hidden)


def changes_audited(
    table: str,
    kind: str,
    record: str = "id",
    hidden: Sequence[str] = (),
    of: Sequence[str] = (),
) -> str:
    """SQL that has changes of a table's rows written down, and not that there are new ones.

    Args:
        table: the table.
        kind: what a row is.
        record: the column with the id of the record that the row belongs to.
        hidden: columns whose content is nobody's business.
        of: the columns that matter; an update that sets none of them, such as one that only notes
            progress, is not written down. All of them when empty.
    """
    columns = f" OF {', '.join(of)}" if of else ""
    return f"""
        CREATE TRIGGER {table}_changed AFTER UPDATE{columns} OR DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION audit_changed({_arguments(kind, record, hidden)});
    """


def _arguments(kind: str, record: str, hidden: Sequence[str]) -> str:
    return ", ".join(f"'{one}'" for one in (kind, record, *hidden))
