"""Nothing of one company is there for another."""

from collections.abc import Awaitable, Callable

import pytest

from common.errors import NotFound
from erp.inventory.v1 import inventory_service_pb2 as api
from inventory.tests.stockroom import Stockroom, new_id, state_of


async def test_another_companys_records_are_not_found(
    inventory: Stockroom, stranger: Stockroom
) -> None:
    receipt = await inventory.receive("OAK-TABLE", 10)
    adjustment = await inventory.adjust("OAK-TABLE", 1)
    reservation = await inventory.reserve({"OAK-TABLE": 1})
    product_id = inventory.products["OAK-TABLE"]

    rpc = stranger.rpc
    attempts: list[Callable[[], Awaitable[object]]] = [
        lambda: rpc.GetProduct(api.GetProductRequest(id=product_id), None),
        lambda: rpc.UpdateProduct(
            api.UpdateProductRequest(id=product_id, version=1, name="Mine"), None
        ),
        lambda: rpc.ArchiveProduct(api.ArchiveProductRequest(id=product_id), None),
        lambda: rpc.GetWarehouse(api.GetWarehouseRequest(id=inventory.warehouse_id), None),
        lambda: rpc.GetStockReceipt(api.GetStockReceiptRequest(id=receipt.id), None),
        lambda: rpc.GetStockAdjustment(api.GetStockAdjustmentRequest(id=adjustment.id), None),
        lambda: rpc.GetReservation(api.GetReservationRequest(id=reservation.id), None),
        lambda: rpc.ReleaseReservation(api.ReleaseReservationRequest(id=reservation.id), None),
        lambda: rpc.ShipReservation(api.ShipReservationRequest(id=reservation.id), None),
    ]

    for attempt in attempts:
        with stranger.me(), pytest.raises(NotFound):
            await attempt()
    assert await inventory.level("OAK-TABLE") == ("11", "1")


async def test_another_companys_goods_and_places_cannot_be_named(
    inventory: Stockroom, stranger: Stockroom
) -> None:
    await inventory.receive("OAK-TABLE", 10)
    await stranger.receive("OAK-TABLE", 10)
    own_place = stranger.warehouse_id

    for place, sku in ((own_place, "THEIRS"), (inventory.warehouse_id, "OAK-TABLE")):
        stranger.products["THEIRS"] = inventory.products["OAK-TABLE"]
        stranger.warehouse_id = place
        with pytest.raises(NotFound):
            await stranger.receive(sku, 1)
        with pytest.raises(NotFound):
            await stranger.adjust(sku, 1)
        with pytest.raises(NotFound):
            await stranger.reserve({sku: 1})
        with pytest.raises(NotFound):
            await stranger.confirm(new_id(), {sku: 1})

    assert await inventory.level("OAK-TABLE") == ("10", "0")


async def test_lists_and_references_are_each_companys_own(
    inventory: Stockroom, stranger: Stockroom
) -> None:
    order_id = new_id()
    for company in (inventory, stranger):
        await company.receive("OAK-TABLE", 10)
    await inventory.confirm(order_id, {"OAK-TABLE": 1})
    mine = await inventory.reserve({"OAK-TABLE": 1}, reference="cart-1")

    theirs = await stranger.reserve({"OAK-TABLE": 2}, reference="cart-1")
    await stranger.cancel(order_id)

    assert theirs.id != mine.id
    assert state_of(await inventory.reservation_of(order_id)) == "held"
    with stranger.me():
        products = await stranger.rpc.ListProducts(api.ListProductsRequest(), None)
        levels = await stranger.rpc.ListStockLevels(api.ListStockLevelsRequest(), None)
        reservations = await stranger.rpc.ListReservations(api.ListReservationsRequest(), None)
        resolved = await stranger.rpc.ResolveGoods(
            api.ResolveGoodsRequest(
                product_ids=[inventory.products["OAK-TABLE"]],
                warehouse_ids=[inventory.warehouse_id],
            ),
            None,
        )
    assert [one.id for one in products.products] == [stranger.products["OAK-TABLE"]]
    assert len(levels.stock_levels) == 1
    assert [one.id for one in reservations.reservations] == [theirs.id]
    assert not resolved.products
    assert not resolved.warehouses
