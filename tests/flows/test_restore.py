"""An accident is undone: everything comes back as it was at a named moment, in every service."""

import asyncio
import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from shop import Shop, client_of, eventually

from ops.background import BackgroundStack, running

pytestmark = pytest.mark.first

ORDERS = 4


def kv_erp(directory: Path, *arguments: str) -> Any:
    """What the command line answers in JSON."""
    done = subprocess.run(
        [str(Path(sys.executable).with_name("kv-erp")), *arguments, "--json"],
        env={**os.environ, "KV_ERP_DEV_DIR": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


async def orders_of(shop: Shop, body: dict[str, Any]) -> set[str]:
    """The ids of some new orders, confirmed and settled."""
    orders = await asyncio.gather(*(shop.confirmed(body) for _ in range(ORDERS)))
    return {(await shop.settled(order["id"]))["id"] for order in orders}


async def known(shop: Shop) -> set[str]:
    return {order["id"] for order in (await shop.get("/orders", page_size=100))["orders"]}


def run(stack: BackgroundStack, database: str, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(stack.state["databases"][database], autocommit=True) as server:
        cursor = server.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


async def test_what_was_there_at_a_moment_is_there_again_after_an_accident(
    tmp_path: Path, began: Path
) -> None:
    directory, store, key = tmp_path / "dev", tmp_path / "store", tmp_path / "key"
    kv_erp(directory, "backup", "key", str(key))
    options = [f"--backups={store}", f"--backup-key={key}"]
    with running(directory, options=options, like=began) as stack:
        async with client_of(stack, "acme") as client:
            shop = Shop(client)
            customer, warehouse = await shop.customer(), await shop.warehouse()
            product = await shop.product(warehouse, stock=100)
            body = shop.order_body(customer, warehouse, (product, 1))
            in_the_backup = await orders_of(shop, body)
            backup = kv_erp(directory, "backup", "create")
            in_the_log = await orders_of(shop, body)
            ((moment,),) = run(stack, "sales", "SELECT clock_timestamp()")
            await orders_of(shop, body)
            run(stack, "sales", "DROP TABLE order_lines CASCADE")
            run(stack, "accounting", "TRUNCATE journal_entries CASCADE")

    at = moment.astimezone(UTC).isoformat()
    where = [f"--store={store}", f"--key-file={key}", f"--at={at}"]
    restored = kv_erp(directory, "backup", "restore", *where, "--yes")

    assert restored["backup"] == backup["id"]
    assert datetime.fromisoformat(restored["last_transaction"].replace(" UTC", "+00:00")) <= moment
    assert await exists(Path(restored["replaced"], "postgres", "PG_VERSION"))
    with running(directory, options=options) as stack:
        async with client_of(stack, "acme") as client:
            shop = Shop(client)
            assert await known(shop) == in_the_backup | in_the_log
            assert await shop.level(warehouse, product) == ("100", str(2 * ORDERS), str(92))
            assert not await shop.violations()

            after = await shop.confirmed(body)
            assert (await shop.settled(after["id"]))["reservation_state"] == "reserved"
            segment = finished_segment(stack)
            await eventually(lambda: exists(segment), "the new history is archived")
            assert not await shop.violations()


def finished_segment(stack: BackgroundStack) -> Path:
    """Where the archive gets the newest segment of the restored server's own history."""
    run(stack, "gateway", "SELECT pg_create_restore_point('finished')")
    ((name,),) = run(stack, "gateway", "SELECT pg_walfile_name(pg_switch_wal())")
    assert name.startswith("00000002")
    return Path(stack.state["backups"], "wal", f"{name}.gz.sealed")


async def exists(path: Path) -> bool:
    return await asyncio.to_thread(path.exists)
