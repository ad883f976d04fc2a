"""The auditor finds what is broken, and nothing else."""

import pytest

from common import caller
from common.testing import rows_of
from erp.audit.v1 import audit_pb2 as pb
from inventory.tests.stockroom import Stockroom, new_id
from inventory.tests.test_counts import start
from inventory.tests.test_transfers import Carrier

_DAMAGES = {
    "stock_equals_movements": "UPDATE stock_levels SET on_hand = on_hand + 1",
    "reserved_equals_held": "UPDATE stock_levels SET reserved = reserved - 1",
    "reservations_agree_with_their_lines": "UPDATE reservation_lines SET shortage = 1",
    "documents_move_stock": "DELETE FROM stock_movements",
    "numbers_without_gap": "UPDATE number_series SET last = last + 1",
    "events_without_gap": "DELETE FROM events",
    "in_transit_is_sent_less_arrived": "UPDATE transfer_lines SET transit_value_minor = 1",
    "transfers_agree_with_their_lines": "UPDATE transfers SET state = 'received'",
    "transfers_stay_worth_the_same": "UPDATE stock_levels SET value_minor = value_minor + 1",
    "counts_are_made_good_as_found": "UPDATE stock_count_lines SET is_open = false",
}


@pytest.mark.parametrize(("rule", "damage"), _DAMAGES.items())
async def test_a_broken_record_is_found(stranger: Stockroom, rule: str, damage: str) -> None:
    await stranger.receive("OAK-TABLE", 10)
    await stranger.reserve({"OAK-TABLE": 2})
    await Carrier(stranger, (await stranger.add_warehouse("SHOP")).id).send(("OAK-TABLE", 1))
    await start(stranger)
    sound = await stranger.violations()

    only = "sequence = 2 AND tenant_id = %s" if "events" in damage else "tenant_id = %s"
    rows_of(stranger.operator, f"{damage} WHERE {only} RETURNING 1", stranger.tenant_id)

    assert sound == []
    assert rule in {violation.partition(":")[0] for violation in await stranger.violations()}


async def test_confirmed_orders_are_listed_and_mere_holds_are_not(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)
    orders = sorted(new_id() for _ in range(3))
    for order in orders:
        await inventory.confirm(order, {"OAK-TABLE": 4})
    await inventory.hold_for_order(new_id(), {"OAK-TABLE": 1})
    await inventory.reserve({"OAK-TABLE": 1}, order_id=new_id())

    with inventory.me():
        listed = await inventory.auditor.ListOrders(pb.ListOrdersRequest(), None)
        rest = await inventory.auditor.ListOrders(pb.ListOrdersRequest(after_id=orders[0]), None)

    assert list(listed.order_ids) == orders
    assert list(rest.order_ids) == orders[1:]


async def test_positions_and_the_own_head_are_told(inventory: Stockroom) -> None:
    await inventory.receive("OAK-TABLE", 10)

    with caller.acting_as(caller.service_caller("audit", inventory.tenant_id)):
        positions = await inventory.auditor.ListPositions(pb.ListPositionsRequest(), None)

    assert positions.head == 2
    assert list(positions.positions) == []
