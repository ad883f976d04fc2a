"""What the database alone can do with the same work: pgbench on the same PostgreSQL, in the same run."""

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import psycopg
from ops.postgres import postgres_binary
from ops.urls import with_database

SECONDS = 10
_TABLES = """
    DROP SCHEMA IF EXISTS floor CASCADE;
    CREATE SCHEMA floor;
    SET search_path = floor;
    CREATE TABLE stock (id int PRIMARY KEY, on_hand numeric NOT NULL, reserved numeric NOT NULL,
                        CHECK (reserved <= on_hand)) WITH (fillfactor = 50);
    CREATE TABLE numbers (series text PRIMARY KEY, last bigint NOT NULL) WITH (fillfactor = 50);
    CREATE TABLE totals (account int PRIMARY KEY, debit bigint NOT NULL, credit bigint NOT NULL)
                        WITH (fillfactor = 50);
    CREATE TABLE orders (id bigserial PRIMARY KEY, number bigint NOT NULL, net bigint, tax bigint);
    CREATE TABLE order_lines (order_id bigint REFERENCES orders, place int, product int REFERENCES stock,
                              quantity numeric, PRIMARY KEY (order_id, place));
    CREATE TABLE reservations (id bigserial PRIMARY KEY, order_id bigint UNIQUE REFERENCES orders);
    CREATE TABLE reservation_lines (reservation_id bigint REFERENCES reservations, place int,
                                    product int, quantity numeric, PRIMARY KEY (reservation_id, place));
    CREATE TABLE invoices (id bigserial PRIMARY KEY, number bigint NOT NULL,
                           order_id bigint UNIQUE REFERENCES orders, due bigint);
    CREATE TABLE entries (id bigserial PRIMARY KEY, invoice_id bigint UNIQUE REFERENCES invoices);
    CREATE TABLE entry_lines (entry_id bigint REFERENCES entries, account int, debit bigint, credit bigint);
    INSERT INTO stock SELECT n, 1000000000, 0 FROM generate_series(1, 100) n;
    INSERT INTO numbers VALUES ('order', 0), ('invoice', 0);
    INSERT INTO totals SELECT n, 0, 0 FROM generate_series(1, 3) n;
"""
ONE_ROW = """
    BEGIN;
    SELECT on_hand, reserved FROM floor.stock WHERE id = 1 FOR UPDATE;
    UPDATE floor.stock SET reserved = reserved + 1 WHERE id = 1;
    INSERT INTO floor.reservations (order_id) VALUES (NULL);
    COMMIT;
"""
# Stock is locked first and in order: inserting lines that refer to it before that deadlocks.
ORDER = r"""
    \set a random(1, 98)
    BEGIN;
    SELECT id, on_hand, reserved FROM floor.stock WHERE id IN (:a, :a + 1, :a + 2) ORDER BY id FOR UPDATE;
    UPDATE floor.stock SET reserved = reserved + 1 WHERE id IN (:a, :a + 1, :a + 2);
    UPDATE floor.numbers SET last = last + 1 WHERE series = 'order' RETURNING last AS number \gset
    INSERT INTO floor.orders (number, net, tax) VALUES (:number, 36000, 6840) RETURNING id AS order \gset
    INSERT INTO floor.order_lines VALUES (:order, 1, :a, 1), (:order, 2, :a + 1, 1), (:order, 3, :a + 2, 1);
    INSERT INTO floor.reservations (order_id) VALUES (:order) RETURNING id AS held \gset
    INSERT INTO floor.reservation_lines VALUES (:held, 1, :a, 1), (:held, 2, :a + 1, 1), (:held, 3, :a + 2, 1);
    UPDATE floor.numbers SET last = last + 1 WHERE series = 'invoice' RETURNING last AS invoiced \gset
    INSERT INTO floor.invoices (number, order_id, due) VALUES (:invoiced, :order, 42840) RETURNING id AS invoice \gset
    INSERT INTO floor.entries (invoice_id) VALUES (:invoice) RETURNING id AS entry \gset
    INSERT INTO floor.entry_lines VALUES (:entry, 1, 42840, 0), (:entry, 2, 0, 36000), (:entry, 3, 0, 6840);
    UPDATE floor.totals SET debit = debit + 42840 WHERE account = 1;
    UPDATE floor.totals SET credit = credit + 36000 WHERE account = 2;
    UPDATE floor.totals SET credit = credit + 6840 WHERE account = 3;
    COMMIT;
"""


@dataclass(frozen=True)
class Floor:
    """What pgbench reached."""

    per_second: float
    mean_ms: float


def measure(operator_url: str, script: str, clients: int, seconds: int = SECONDS) -> Floor:
    """Transactions per second of a script with prepared statements."""
    url = with_database(operator_url, "postgres")
    with psycopg.connect(url) as connection:
        connection.execute(_TABLES.encode())
        connection.commit()
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        command = [
            postgres_binary("pgbench"), "--no-vacuum", "--protocol=prepared", f"--file={Path(file.name)}",
            f"--client={clients}", "--jobs=2", f"--time={seconds}", url,
        ]  # fmt: skip
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Floor(_figure(r"tps = ([\d.]+)", said), _figure(r"latency average = ([\d.]+)", said))


def _figure(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, text
    return float(found.group(1))
