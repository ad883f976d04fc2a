"""What the database alone can do with the same work: pgbench, on the same PostgreSQL."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import psycopg

from ops.postgres import postgres_binary
from ops.urls import with_database

SECONDS = 10
SQL = Path(__file__).with_name("sql")
_TABLES = SQL / "tables.sql"
# A buyer takes one unit: lock the row, change it, write down who took it.
ONE_ROW = SQL / "one_row.sql"
# What a reservation writes besides: its line, the tenant's next event number, the event.
RESERVATION = SQL / "reservation.sql"
# The job of an order: hold stock, take numbers, store order, reservation, invoice, entry, totals.
# Stock is locked first and in order: inserting lines that refer to it before that deadlocks.
ORDER = SQL / "order.sql"


@dataclass(frozen=True)
class Floor:
    """What pgbench reached."""

    per_second: float
    mean_ms: float


def measure(operator_url: str, script: Path, clients: int, seconds: int = SECONDS) -> Floor:
    """Transactions per second of a script with prepared statements."""
    url = with_database(operator_url, "postgres")
    with psycopg.connect(url) as connection:
        connection.execute(_TABLES.read_bytes())
    command = [
        str(postgres_binary("pgbench")),
        "--no-vacuum",
        "--protocol=prepared",
        f"--file={script}",
        f"--client={clients}",
        "--jobs=2",
        f"--time={seconds}",
        url,
    ]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return Floor(_figure(r"tps = ([\d.]+)", said), _figure(r"latency average = ([\d.]+)", said))


def _figure(pattern: str, text: str) -> float:
    found = re.search(pattern, text)
    assert found is not None, text
    return float(found.group(1))
