"""Orders that wait for goods: filled whole, the earliest first, when stock becomes available.

An order that does not fit is passed over, so that what is there does not lie still; it keeps its
place and is tried again with the next goods.
"""

from collections.abc import Collection, Iterable
from datetime import UTC, datetime
from uuid import UUID

import structlog
from sqlalchemy import text

from common import caller, outbox
from common.database import Database, Transaction
from common.errors import DomainError
from inventory.levels import Key, Levels
from inventory.promises import read, save_reservations, selecting
from inventory.reservations import Reservation
from inventory.stock import key_columns, lock_levels, try_lock_more, write_levels

SYSTEM_REASON = "untried backorders"
# Most backorders that one transaction tries; the rest is tried by the worker's duty.
MOST_TRIED = 500
_FIRST = UUID(int=0)

log = structlog.get_logger()

_WAITING = """
    SELECT DISTINCT waiting.reservation_id
    FROM unnest(CAST(:product_ids AS uuid[]), CAST(:warehouse_ids AS uuid[]))
        AS key (product_id, warehouse_id)
    JOIN reservation_lines AS waiting ON waiting.product_id = key.product_id
        AND waiting.warehouse_id = key.warehouse_id
    WHERE waiting.shortage > 0 AND waiting.reservation_id > :after
    ORDER BY waiting.reservation_id LIMIT :limit
"""
_KEYS_OF_WAITING = text(f"""
    SELECT DISTINCT line.product_id, line.warehouse_id FROM reservation_lines AS line
    WHERE line.reservation_id IN ({_WAITING})
""")  # noqa: S608 (only parts of ours)
_FIND_WAITING = selecting(f"reservation.id IN ({_WAITING})")
_UNTRIED = text("""
    SELECT product_id, warehouse_id, backorders_tried_to FROM stock_levels
    WHERE backorders_tried_to IS NOT NULL
""")
_TENANTS_WITH_UNTRIED = text("""
    SELECT DISTINCT tenant_id FROM stock_levels WHERE backorders_tried_to IS NOT NULL LIMIT 100
""")


async def keys_of_waiting(tx: Transaction, keys: Collection[Key], after: UUID = _FIRST) -> set[Key]:
    """All levels that the orders concern which wait for one of these: to be locked together."""
    rows = await tx.rows(_KEYS_OF_WAITING, _window(keys, after))
    return {Key(row.product_id, row.warehouse_id) for row in rows}


async def fill(tx: Transaction, levels: Levels, risen: Iterable[Key], after: UUID = _FIRST) -> None:
    """Hold the goods of waiting orders, now that there may be more of these.

    The levels of orders that began to wait meanwhile are locked if nobody else has them just now;
    if somebody has, the worker's duty goes on from there.

    Args:
        tx: the transaction that made stock available.
        levels: locked, with the risen ones among them.
        risen: of which more may be available than before.
        after: earlier orders than this have been tried.
    """
    keys = [key for key in risen if levels[key].available > 0]
    if not keys:
        return
    waiting = read(await tx.rows(_FIND_WAITING, _window(keys, after)))
    within_reach = await _reach(tx, levels, waiting)
    changed = _try_in_turn(levels, keys, within_reach)
    all_tried = len(within_reach) == len(waiting) < MOST_TRIED or _exhausted(levels, keys)
    for key in keys:
        tried_to = within_reach[-1].id if within_reach else after
        levels[key].backorders_tried_to = None if all_tried else tried_to
    await save_reservations(tx, changed)
    outbox.publish(tx, *(one.reserved() for one in changed if one.held))


async def fill_untried(database: Database) -> None:
    """Go on where transactions stopped that made more stock available than they could try."""
    async with database.system_transaction(SYSTEM_REASON) as connection:
        tenants = (await connection.execute(_TENANTS_WITH_UNTRIED)).scalars().all()
    for tenant_id in tenants:
        with caller.acting_as(caller.service_caller("inventory", tenant_id)):
            try:
                await database.run(_fill_untried)
            except DomainError as error:
                log.info("backorders wait", tenant_id=str(tenant_id), error=str(error))


async def _fill_untried(tx: Transaction) -> None:
    untried = {
        Key(row.product_id, row.warehouse_id): row.backorders_tried_to
        for row in await tx.rows(_UNTRIED)
    }
    if not untried:
        return
    after = min(untried.values())
    levels = await lock_levels(tx, untried.keys() | await keys_of_waiting(tx, untried, after))
    for key in untried:
        levels[key].backorders_tried_to = None
    await fill(tx, levels, untried, after)
    await write_levels(tx, levels)


async def _reach(tx: Transaction, levels: Levels, waiting: list[Reservation]) -> list[Reservation]:
    """Those whose levels are all locked, up to the first of which they cannot be."""
    await try_lock_more(tx, levels, {key for one in waiting for key in one.keys})
    reached = []
    for one in waiting:
        if not levels.covers(one.keys):
            break
        reached.append(one)
    return reached


def _try_in_turn(
    levels: Levels, keys: Collection[Key], waiting: Iterable[Reservation]
) -> list[Reservation]:
    """Try until none of the keys has anything left, and say who changed."""
    now = datetime.now(UTC)
    changed = []
    for one in waiting:
        if _exhausted(levels, keys):
            break
        if _try(levels, one, now):
            changed.append(one)
    return changed


def _exhausted(levels: Levels, keys: Iterable[Key]) -> bool:
    # Whoever waits lacks one of the keys, so without any of them nobody can be served.
    return not any(levels[key].available for key in keys)


def _try(levels: Levels, reservation: Reservation, now: datetime) -> bool:
    """Hold the reservation if all of it is there; whether anything about it changed."""
    shortages = levels.shortages(reservation.wanted)
    if not any(shortages):
        levels.hold(reservation.wanted)
        reservation.hold(None, now)
        return True
    if shortages == [line.shortage for line in reservation.lines]:
        return False
    reservation.wait(shortages, now)
    return True


def _window(keys: Collection[Key], after: UUID) -> dict[str, object]:
    return key_columns(keys) | {"after": after, "limit": MOST_TRIED}
