"""A company that is deleted leaves no row in any table of any service."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import companies
import psycopg
import pytest
from psycopg import sql
from records import records
from shop import Shop, eventually

from ops.background import BackgroundStack

pytestmark = pytest.mark.first

SERVICES = ("inventory", "accounting", "sales", "gateway")
TABLES = """
    SELECT c.relname::text FROM pg_class c JOIN pg_attribute a
        ON a.attrelid = c.oid AND a.attnum = 1 AND a.attname = 'tenant_id'
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p')
      AND NOT c.relispartition
"""


def rows_left(stack: BackgroundStack, tenant_id: str) -> dict[str, int]:
    found = {}
    for service in SERVICES:
        with psycopg.connect(stack.state["databases"][service]) as connection:
            for (name,) in connection.execute(TABLES).fetchall():
                count = sql.SQL("SELECT count(*) FROM {} WHERE tenant_id = %s")
                row = connection.execute(count.format(sql.Identifier(name)), [tenant_id]).fetchone()
                if row and row[0]:
                    found[f"{service}/{name}"] = row[0]
    return found


def tenants(stack: BackgroundStack, *words: str) -> None:
    environment = os.environ | {"KV_ERP_DEV_DIR": str(stack.directory)}
    command = [sys.executable, "-m", "ops", "tenants", *words, "--reason", "they left"]
    subprocess.run(command, env=environment, check=True, capture_output=True)


async def test_a_company_takes_all_along_and_then_no_row_is_left_in_any_service(
    stack: BackgroundStack, tmp_path: Path
) -> None:
    company = await companies.found(stack)
    async with companies.client_of(stack, company) as client:
        shop = Shop(client)
        made = await records(shop)
        await shop.settled(made["order_id"])
        # A locked month refuses every change.
        for verb in ("close", "lock"):
            await shop.post(f"/periods/2019-01:{verb}", {})
    before = rows_left(stack, company.id)

    tenants(stack, "suspend", company.slug, "--yes")
    tenants(stack, "export", company.slug, "--to", str(tmp_path / "all.zip"))
    tenants(stack, "delete", company.slug, "--confirm", company.slug, "--yes")

    async def nothing_left() -> bool:
        return not rows_left(stack, company.id)

    await eventually(nothing_left, "no row is left", seconds=150)
    archive = zipfile.ZipFile(tmp_path / "all.zip")
    rows = {one["name"]: one["rows"] for one in json.loads(archive.read("manifest.json"))["files"]}
    # What workers note of their own work goes on after a company was suspended.
    business = ("sales/orders", "accounting/journal_lines", "inventory/stock_movements")
    for name in business:
        assert rows[f"{name}.ndjson"] == before[name]
    assert {f"{name}.ndjson" for name in before} <= set(rows)
    assert made["order_id"].encode() in archive.read("sales/orders.ndjson")
    assert {name.partition("/")[0] for name in before} == set(SERVICES)
    assert len(before) > 60
