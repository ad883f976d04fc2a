"""How stored levels are locked."""

import asyncio
from collections.abc import Sequence
from uuid import UUID

from common.database import Database
from inventory.levels import Key
from inventory.stock import lock_levels, work_alone
from inventory.tests.stockroom import Stockroom, euro


async def keys_of(inventory: Stockroom, count: int) -> list[Key]:
    await inventory.receive_all(*((f"SKU-{number}", 1, euro("1")) for number in range(count)))
    place = UUID(inventory.warehouse_id)
    return [Key(UUID(product_id), place) for product_id in inventory.products.values()]


async def test_levels_are_locked_in_one_order_however_they_are_named(
    inventory: Stockroom, database: Database, other_database: Database
) -> None:
    keys = await keys_of(inventory, 60)

    async def lock(at: Database, named: Sequence[Key]) -> None:
        for _ in range(25):
            async with at.tenant_transaction() as tx:
                await lock_levels(tx, named)

    with inventory.me():
        await asyncio.gather(lock(database, keys), lock(other_database, keys[::-1]))


async def test_who_works_alone_may_lock_in_any_order(
    inventory: Stockroom, database: Database, other_database: Database
) -> None:
    first, second = sorted(await keys_of(inventory, 2))

    async def work() -> None:
        async with database.tenant_transaction() as tx:
            await work_alone(tx)
            await lock_levels(tx, [second])
            await lock_levels(tx, [first])

    async def serve() -> None:
        async with other_database.tenant_transaction() as tx:
            await lock_levels(tx, [first])
            await lock_levels(tx, [second])

    with inventory.me():
        await asyncio.gather(*(one() for _ in range(25) for one in (work, serve)))
