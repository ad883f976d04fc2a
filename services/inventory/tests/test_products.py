"""Products and warehouses."""

import asyncio

import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from common import ids
from common.database import Database
from common.errors import ConcurrentModification, InvalidRequest, NotFound, Unavailable
from common.locks import Locks
from common.testing import ServiceDatabase
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from erp.inventory.v1.events_pb2 import ProductChanged, ProductCreated
from inventory.errors import CodeTaken, ProductArchived, SkuTaken
from inventory.tests.stockroom import Stockroom, euro, new_id, reason_of


async def change(inventory: Stockroom, product: pb.Product, **values: object) -> pb.Product:
    request = api.UpdateProductRequest(
        id=product.id,
        version=product.version,
        update_mask=FieldMask(paths=list(values)),
        **values,  # type: ignore[arg-type]
    )
    with inventory.me():
        return await inventory.rpc.UpdateProduct(request, None)


async def archive(inventory: Stockroom, product_id: str, version: int = 0) -> pb.Product:
    with inventory.me():
        request = api.ArchiveProductRequest(id=product_id, version=version)
        return await inventory.rpc.ArchiveProduct(request, None)


async def test_a_product_is_as_it_was_described(inventory: Stockroom) -> None:
    made = await inventory.add_product("OAK-TABLE")

    with inventory.me():
        read = await inventory.rpc.GetProduct(api.GetProductRequest(id=made.id), None)
    assert read == made
    assert (made.sku, made.list_price.amount, made.version) == ("OAK-TABLE", "120.00", 1)
    assert made.state == pb.PRODUCT_STATE_ACTIVE
    [told] = inventory.events(ProductCreated)
    assert (told.product_id, told.sku, told.list_price) == (made.id, "OAK-TABLE", made.list_price)


async def test_a_stock_keeping_unit_names_one_product(inventory: Stockroom) -> None:
    outcomes = await asyncio.gather(
        *(inventory.add_product("OAK-TABLE") for _ in range(3)), return_exceptions=True
    )

    assert sorted(map(reason_of, outcomes)) == ["OK", "SKU_TAKEN", "SKU_TAKEN"]
    with pytest.raises(SkuTaken):
        await inventory.add_product("OAK-TABLE")


async def test_only_the_named_fields_change(inventory: Stockroom) -> None:
    made = await inventory.add_product("OAK-TABLE")

    changed = await change(inventory, made, list_price=euro("99.00"), description="Solid")

    assert (changed.name, changed.description) == (made.name, "Solid")
    assert (changed.list_price.amount, changed.version) == ("99.00", 2)
    [told] = inventory.events(ProductChanged)
    assert (told.version, told.list_price.amount, told.archived) == (2, "99.00", False)


async def test_a_text_can_be_emptied_but_not_a_name_or_a_price(inventory: Stockroom) -> None:
    made = await change(inventory, await inventory.add_product("OAK-TABLE"), description="Solid")

    emptied = await change(inventory, made, description="")
    pointers = []
    for field in ("name", "list_price", "sku"):
        request = api.UpdateProductRequest(id=made.id, version=emptied.version)
        request.update_mask.paths.append(field)
        with inventory.me(), pytest.raises(InvalidRequest) as refused:
            await inventory.rpc.UpdateProduct(request, None)
        pointers += [violation.pointer for violation in refused.value.violations]

    assert emptied.description == ""
    assert pointers == ["/name", "/list_price", "/update_mask"]


async def test_a_change_of_an_old_version_is_refused(inventory: Stockroom) -> None:
    made = await inventory.add_product("OAK-TABLE")
    await change(inventory, made, description="Solid")

    with pytest.raises(ConcurrentModification):
        await change(inventory, made, description="Oak")
    with pytest.raises(ConcurrentModification):
        await archive(inventory, made.id, made.version)


async def test_a_product_is_archived_once(inventory: Stockroom) -> None:
    made = await inventory.add_product("OAK-TABLE")

    archived = await archive(inventory, made.id)
    with pytest.raises(ProductArchived):
        await archive(inventory, made.id)

    assert archived.state == pb.PRODUCT_STATE_ARCHIVED
    assert [told.archived for told in inventory.events(ProductChanged)] == [True]


async def test_what_does_not_exist_is_not_found(inventory: Stockroom) -> None:
    with inventory.me():
        with pytest.raises(NotFound):
            await inventory.rpc.GetProduct(api.GetProductRequest(id=new_id()), None)
        with pytest.raises(NotFound):
            await inventory.rpc.GetWarehouse(api.GetWarehouseRequest(id=new_id()), None)
        with pytest.raises(NotFound):
            await inventory.rpc.GetReservation(api.GetReservationRequest(id=new_id()), None)
        with pytest.raises(NotFound):
            await inventory.rpc.GetStockReceipt(api.GetStockReceiptRequest(id=new_id()), None)
        with pytest.raises(NotFound):
            await inventory.rpc.GetStockAdjustment(api.GetStockAdjustmentRequest(id=new_id()), None)
    with pytest.raises(NotFound):
        await archive(inventory, new_id())
    with pytest.raises(NotFound):
        await change(inventory, pb.Product(id=new_id(), version=1), name="Table")


async def test_products_are_listed_in_pages_by_sku_and_by_state(inventory: Stockroom) -> None:
    made = [await inventory.add_product(sku) for sku in ("A", "B", "C")]
    await archive(inventory, made[1].id)

    with inventory.me():
        first = await inventory.rpc.ListProducts(api.ListProductsRequest(page_size=2), None)
        second = await inventory.rpc.ListProducts(
            api.ListProductsRequest(page_size=2, page_token=first.next_page_token), None
        )
        by_sku = await inventory.rpc.ListProducts(api.ListProductsRequest(sku="C"), None)
        active = await inventory.rpc.ListProducts(
            api.ListProductsRequest(state=pb.PRODUCT_STATE_ACTIVE), None
        )

    pages = [[product.sku for product in page.products] for page in (first, second)]
    assert pages == [["A", "B"], ["C"]]
    assert [product.sku for product in by_sku.products] == ["C"]
    assert [product.sku for product in active.products] == ["A", "C"]


async def test_a_code_names_one_warehouse(inventory: Stockroom) -> None:
    north = await inventory.add_warehouse("NORTH")

    with pytest.raises(CodeTaken):
        await inventory.add_warehouse("NORTH")

    with inventory.me():
        read = await inventory.rpc.GetWarehouse(api.GetWarehouseRequest(id=north.id), None)
        listed = await inventory.rpc.ListWarehouses(api.ListWarehousesRequest(), None)
    assert read == north
    assert [warehouse.code for warehouse in listed.warehouses] == ["MAIN", "NORTH"]


async def test_goods_are_resolved_as_far_as_they_exist(inventory: Stockroom) -> None:
    made = await inventory.add_product("OAK-TABLE")
    archived = await archive(inventory, (await inventory.add_product("OLD")).id)

    with inventory.me():
        found = await inventory.rpc.ResolveGoods(
            api.ResolveGoodsRequest(
                product_ids=[made.id, archived.id, new_id()],
                warehouse_ids=[inventory.warehouse_id, new_id()],
            ),
            None,
        )

    assert {one.id: one.state for one in found.products} == {
        made.id: pb.PRODUCT_STATE_ACTIVE,
        archived.id: pb.PRODUCT_STATE_ARCHIVED,
    }
    assert [one.id for one in found.warehouses] == [inventory.warehouse_id]


async def test_a_company_that_is_not_set_up_yet_is_asked_to_come_back(
    database: Database, urls: ServiceDatabase, locks: Locks
) -> None:
    early = Stockroom(database, urls.operator, ids.new(), locks)

    with pytest.raises(Unavailable):
        await early.add_product("OAK-TABLE")
    with pytest.raises(Unavailable):
        await early.add_warehouse("MAIN")


async def test_a_company_is_set_up_once(inventory: Stockroom) -> None:
    with pytest.raises(CodeTaken):
        await inventory.open("USD")

    await inventory.add_product("OAK-TABLE", euro("1.00"))
