"""What somebody did to the audit log past our code, also before there is a seal on it.

A seal is put on when no transaction can write before it any more, a minute or two later. Until then
the database itself keeps what an entry was before its first change; what is put back is as it was.
Whoever can change the log can also clean up here, so a seal proves more.
"""

from sqlalchemy import text

from common.schema import protect
from common.transaction import Transaction

__all__ = ["disturbances_kept", "find_disturbed"]

_MOST = 10
_TABLE = """
    CREATE TABLE audit_disturbed (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL,
        record_id text NOT NULL,
        was jsonb NOT NULL,
        PRIMARY KEY (tenant_id, id, record_id)
    );
"""
# Only the system role may remove entries: those of a company that is deleted.
_FUNCTION = """
    CREATE FUNCTION audit_disturbed() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, public, pg_temp AS $$
    DECLARE
        was CONSTANT jsonb := to_jsonb(OLD);
    BEGIN
        IF current_user <> TG_ARGV[0] THEN
            INSERT INTO audit_disturbed (tenant_id, id, record_id, was)
            VALUES (OLD.tenant_id, coalesce(was ->> 'id', was ->> 'change_id')::uuid,
                    CASE WHEN was ? 'id' THEN '' ELSE was ->> 'record_id' END, was)
            ON CONFLICT DO NOTHING;
        END IF;
        RETURN NULL;
    END $$;
"""
_FIND = text(f"""
    SELECT coalesce(was ->> 'record_id', was ->> 'id') AS record_id
    FROM audit_disturbed AS disturbed
    WHERE tenant_id = :tenant_id
      AND NOT EXISTS (SELECT FROM audit_entries AS one WHERE one.tenant_id = :tenant_id
                      AND one.id = disturbed.id AND to_jsonb(one) = was)
      AND NOT EXISTS (SELECT FROM audit_changes AS one WHERE one.tenant_id = :tenant_id
                      AND one.id = disturbed.id AND to_jsonb(one) = was)
      AND NOT EXISTS (SELECT FROM audit_authors AS one WHERE one.tenant_id = :tenant_id
                      AND one.change_id = disturbed.id AND to_jsonb(one) = was)
    ORDER BY id LIMIT {_MOST}
""")  # noqa: S608 (a number)


def disturbances_kept(service: str) -> str:
    """SQL that lets the database keep what entries of a service's audit log were."""
    triggers = "".join(
        f"""
        CREATE TRIGGER {table}_disturbed AFTER UPDATE OR DELETE ON {table}
            FOR EACH ROW EXECUTE FUNCTION audit_disturbed('{service}_system');
        """
        for table in ("audit_entries", "audit_changes", "audit_authors")
    )
    protected = protect(service, "audit_disturbed", append_only=True)
    return (
        _TABLE
        + protected
        + f"REVOKE INSERT ON audit_disturbed FROM {service}_app;"
        + _FUNCTION
        + triggers
    )


async def find_disturbed(tx: Transaction) -> list[str]:
    """What is wrong with entries of the tenant that are not as they were, in words."""
    rows = await tx.rows(_FIND, {"tenant_id": tx.tenant_id})
    return [f"An entry of {row.record_id} was changed or removed." for row in rows]
