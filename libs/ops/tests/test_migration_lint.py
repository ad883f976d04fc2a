"""What a migration may not do while the old version of a service runs."""

import pytest

from ops.migration_lint import findings, split


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("ALTER TABLE orders DROP COLUMN note;", "drops a column"),
        ("ALTER TABLE orders DROP note", "drops a column"),
        ("DROP TABLE orders;", "drops a table"),
        ("ALTER TABLE orders RENAME COLUMN note TO remark;", "renames"),
        ("ALTER TABLE orders RENAME TO purchases;", "renames"),
        ("alter table orders alter column number type bigint;", "type"),
        ("ALTER TABLE orders ADD COLUMN note text NOT NULL;", "without default"),
        ("ALTER TABLE orders ALTER note SET NOT NULL;", "forbids NULL"),
        ("ALTER TABLE orders ADD CONSTRAINT c CHECK (note <> '');", "NOT VALID"),
        ("ALTER TABLE a ADD CONSTRAINT f FOREIGN KEY (x) REFERENCES b (x);", "NOT VALID"),
        ("ALTER TABLE orders ADD CONSTRAINT u UNIQUE (tenant_id, number);", "USING INDEX"),
        ("CREATE INDEX by_note ON orders (tenant_id, note);", "make_indexes"),
        ("ALTER TABLE a ADD b int, DROP COLUMN c;", "drops a column"),
        ("ALTER TABLE a ADD COLUMN b numeric(18,6) NOT NULL;", "without default"),
    ],
)
def test_what_breaks_or_stops_the_old_version_is_found(sql: str, problem: str) -> None:
    (found,) = findings(sql)

    assert problem in str(found)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE orders ADD COLUMN note text NOT NULL DEFAULT '';",
        "ALTER TABLE orders ADD COLUMN note text;",
        "ALTER TABLE orders ADD COLUMN n bigint NOT NULL GENERATED ALWAYS AS (a + b) STORED;",
        "ALTER TABLE orders ADD CONSTRAINT c CHECK (note <> '') NOT VALID;",
        "ALTER TABLE orders VALIDATE CONSTRAINT c;",
        "ALTER TABLE orders DROP CONSTRAINT c;",
        "ALTER TABLE orders ALTER note DROP NOT NULL;",
        "ALTER TABLE orders ALTER note SET DEFAULT 'DROP COLUMN x';",
        "CREATE TABLE notes (id uuid NOT NULL); CREATE INDEX n ON notes (id);",
        "CREATE TABLE notes (id uuid NOT NULL); ALTER TABLE notes ADD UNIQUE (id);",
        "-- DROP TABLE orders;\nGRANT SELECT ON orders TO sales_system;",
        "DO $$ BEGIN DROP TABLE IF EXISTS scratch; END $$;",
        "CREATE INDEX CONCURRENTLY IF NOT EXISTS by_note ON orders (tenant_id, note);",
    ],
)
def test_what_only_adds_is_left_alone(sql: str) -> None:
    assert findings(sql) == []


def test_statements_end_where_sql_says_so() -> None:
    sql = "SELECT ';', $x$;$x$; -- ;\nSELECT (1); SELECT 'it''s;'"

    assert list(split(sql, ";")) == ["SELECT ';', $x$;$x$", "SELECT (1)", "SELECT 'it''s;'"]
