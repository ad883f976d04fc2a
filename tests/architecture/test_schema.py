"""What a migrated database itself says about tenant isolation."""

import pytest

from common.testing import TestServers, rows_of

SERVICES = ("inventory", "accounting", "sales", "gateway")
# Tables that are not a tenant's: the list of tenants itself, and the migrations' own.
SHARED = {"alembic_version", "tenants"}

TABLES = """
    SELECT c.relname::text, c.relrowsecurity, c.relforcerowsecurity, a.attname::text, a.attnotnull,
           pg_get_expr(d.adbin, d.adrelid)
    FROM pg_class c
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = 1
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = 1
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
"""
# Rows are reached through the table that a partition belongs to, whose policy then counts.
REACHABLE = """
    SELECT c.relname::text FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition
"""
RIGHTS_ON_PARTITIONS = """
    SELECT c.relname::text FROM pg_class c, aclexplode(c.relacl) AS granted
    WHERE c.relispartition AND c.relkind = 'r' AND granted.grantee <> c.relowner
"""
POLICIES = """
    SELECT tablename::text, qual, with_check FROM pg_policies
    WHERE schemaname = 'public' AND %s = ANY(roles)
"""
KEYS = """
    SELECT conrelid::regclass::text, conname::text, contype::text, a.attname::text
    FROM pg_constraint JOIN pg_attribute a ON a.attrelid = conrelid AND a.attnum = conkey[1]
    WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'f')
"""
UNIQUE_INDEXES = """
    SELECT i.indrelid::regclass::text, i.indexrelid::regclass::text, a.attname::text
    FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
    LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indisunique AND c.relnamespace = 'public'::regnamespace
"""
OWNED = """
    SELECT relname::text FROM pg_class JOIN pg_roles ON pg_roles.oid = relowner
    WHERE rolname IN (%s, %s)
"""
RIGHTS = """
    SELECT privilege_type::text FROM information_schema.role_table_grants
    WHERE grantee = %s AND table_name = %s
"""
ROLES = "SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname IN (%s, %s)"


@pytest.fixture(scope="session", params=SERVICES)
def service(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def url(service: str, servers: TestServers) -> str:
    return servers.database(service).operator


def tenant_tables(url: str) -> list[tuple[object, ...]]:
    return [row for row in rows_of(url, TABLES) if row[0] not in SHARED]


def test_every_table_begins_with_its_tenant_and_forces_row_security(url: str) -> None:
    expected = (True, True, "tenant_id", True, "(current_setting('erp.tenant_id'::text))::uuid")

    wrong = [row for row in tenant_tables(url) if row[1:] != expected]

    assert tenant_tables(url)
    assert wrong == []


def test_every_table_shows_the_application_its_own_tenant_only(service: str, url: str) -> None:
    mine = "(tenant_id = (current_setting('erp.tenant_id'::text))::uuid)"

    policies = rows_of(url, POLICIES, f"{service}_app")
    tables = {row[0] for row in rows_of(url, REACHABLE)} - SHARED

    assert {row[0] for row in policies} >= tables
    assert rows_of(url, RIGHTS_ON_PARTITIONS) == []
    assert [row for row in policies if row[0] not in SHARED and row[1:] != (mine, mine)] == []


def test_every_key_begins_with_the_tenant(url: str) -> None:
    keys = [row for row in rows_of(url, KEYS) if row[0] not in SHARED]
    indexes = [row for row in rows_of(url, UNIQUE_INDEXES) if row[0] not in SHARED]

    assert [row for row in keys if row[-1] != "tenant_id"] == []
    assert [row for row in indexes if row[-1] != "tenant_id"] == []


def test_the_application_owns_nothing_and_cannot_look_past_row_security(
    service: str, url: str
) -> None:
    roles = (f"{service}_app", f"{service}_system")

    assert rows_of(url, OWNED, *roles) == []
    assert set(rows_of(url, ROLES, *roles)) == {(False, False)}


@pytest.mark.parametrize(
    ("owner", "table"),
    [
        ("inventory", "stock_movements"),
        ("inventory", "events"),
        ("accounting", "journal_entries"),
        ("accounting", "journal_lines"),
        ("sales", "events"),
    ],
)
def test_postings_and_movements_can_only_be_added(
    owner: str, table: str, servers: TestServers
) -> None:
    rights = rows_of(servers.database(owner).operator, RIGHTS, f"{owner}_app", table)

    assert {row[0] for row in rights} == {"SELECT", "INSERT"}
