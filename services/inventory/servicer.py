"""The inventory's rpcs: wire in, wire out. No rule lives here."""

from common import ids
from common.database import Database
from common.group_commit import GroupCommit
from common.held_locks import OpenLocks
from common.pagination import Page
from common.rehearsal import rehearsing
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from erp.inventory.v1 import inventory_service_pb2_grpc as rpc
from inventory import (
    adjustments,
    counting,
    counts,
    movements,
    planning,
    products,
    promises,
    receipts,
    stock,
    transferring,
    transfers,
    warehouses,
)
from inventory.adjustments import AdjustStock
from inventory.companies import get_company
from inventory.counting import PostCount, RecordCount, StartCount
from inventory.products import CreateProduct, UpdateProduct
from inventory.receipts import Receipt, ReceiveStock
from inventory.releasing import ReleaseReservation, release
from inventory.reservations import Reservation
from inventory.reserving import ReserveStock, reserve
from inventory.shipping import ShipReservation, ship
from inventory.transferring import ReceiveTransfer, TransferStock
from inventory.warehouses import CreateWarehouse


class InventoryServicer(rpc.InventoryServiceServicer):
    """One method an rpc."""

    def __init__(self, database: Database, open_locks: OpenLocks) -> None:
        self._database = database
        self._open_locks = open_locks
        self._reserving = GroupCommit[ReserveStock, Reservation](database, reserve)
        self._releasing = GroupCommit[ReleaseReservation, Reservation](database, release)
        self._shipping = GroupCommit[ShipReservation, Reservation](database, ship)
        self._receiving = GroupCommit[ReceiveStock, Receipt](database, receipts.receive)

    async def CreateProduct(self, request: api.CreateProductRequest, context: object) -> pb.Product:
        """Adds a product."""
        command = CreateProduct.from_wire(request)
        created = await self._database.run(lambda tx: products.create_product(tx, command))
        return created.to_wire()

    async def GetProduct(self, request: api.GetProductRequest, context: object) -> pb.Product:
        """Reads one product."""
        product_id = ids.parse(request.id, "id")
        async with self._database.read_transaction() as tx:
            return (await products.get_product(tx, product_id)).to_wire()

    async def ListProducts(
        self, request: api.ListProductsRequest, context: object
    ) -> api.ListProductsResponse:
        """Lists products, oldest first."""
        sku = request.sku if request.HasField("sku") else None
        page = Page.from_wire(request)
        async with self._database.read_transaction() as tx:
            found, token = await products.list_products(
                tx, page, sku=sku, state=request.state, query=request.query
            )
        return api.ListProductsResponse(
            products=[product.to_wire() for product in found], next_page_token=token
        )

    async def UpdateProduct(self, request: api.UpdateProductRequest, context: object) -> pb.Product:
        """Changes the fields of a product that the request names."""
        command = UpdateProduct.from_wire(request)
        changed = await self._database.run(lambda tx: products.update_product(tx, command))
        return changed.to_wire()

    async def ArchiveProduct(
        self, request: api.ArchiveProductRequest, context: object
    ) -> pb.Product:
        """Takes a product out of trade; its stock and history stay."""
        key = ids.parse(request.id, "id")
        archived = await self._database.run(
            lambda tx: products.archive_product(tx, key, request.version)
        )
        return archived.to_wire()

    async def CreateWarehouse(
        self, request: api.CreateWarehouseRequest, context: object
    ) -> pb.Warehouse:
        """Adds a warehouse."""
        command = CreateWarehouse.from_wire(request)
        created = await self._database.run(lambda tx: warehouses.create_warehouse(tx, command))
        return created.to_wire()

    async def GetWarehouse(self, request: api.GetWarehouseRequest, context: object) -> pb.Warehouse:
        """Reads one warehouse."""
        warehouse_id = ids.parse(request.id, "id")
        async with self._database.read_transaction() as tx:
            return (await warehouses.get_warehouse(tx, warehouse_id)).to_wire()

    async def ListWarehouses(
        self, request: api.ListWarehousesRequest, context: object
    ) -> api.ListWarehousesResponse:
        """Lists warehouses, oldest first."""
        page = Page.from_wire(request)
        async with self._database.read_transaction() as tx:
            found, token = await warehouses.list_warehouses(tx, page)
        return api.ListWarehousesResponse(
            warehouses=[warehouse.to_wire() for warehouse in found], next_page_token=token
        )

    async def ListStockLevels(
        self, request: api.ListStockLevelsRequest, context: object
    ) -> api.ListStockLevelsResponse:
        """Lists what is on hand, reserved and available, by product and warehouse."""
        product_id = ids.parse_optional(request.product_id, "product_id")
        warehouse_id = ids.parse_optional(request.warehouse_id, "warehouse_id")
        page = Page.from_wire(request)
        async with self._database.read_transaction() as tx:
            company = await get_company(tx)
            found, token = await stock.list_levels(
                tx, page, product_id=product_id, warehouse_id=warehouse_id
            )
        levels = [stock.level_to_wire(level, company) for level in found]
        return api.ListStockLevelsResponse(stock_levels=levels, next_page_token=token)

    async def ListStockMovements(
        self, request: api.ListStockMovementsRequest, context: object
    ) -> api.ListStockMovementsResponse:
        """Lists what changed stock, oldest first."""
        product_id = ids.parse_optional(request.product_id, "product_id")
        warehouse_id = ids.parse_optional(request.warehouse_id, "warehouse_id")
        page = Page.from_wire(request)
        async with self._database.read_transaction() as tx:
            company = await get_company(tx)
            found, token = await movements.list_movements(
                tx, page, product_id=product_id, warehouse_id=warehouse_id
            )
        moved = [movement.to_wire(company) for movement in found]
        return api.ListStockMovementsResponse(stock_movements=moved, next_page_token=token)

    async def ReceiveStock(
        self, request: api.ReceiveStockRequest, context: object
    ) -> pb.StockReceipt:
        """Takes goods in, values them, and fills waiting backorders."""
        return (await self._receiving.run(ReceiveStock.from_wire(request))).to_wire()

    async def GetStockReceipt(
        self, request: api.GetStockReceiptRequest, context: object
    ) -> pb.StockReceipt:
        """Reads one receipt."""
        receipt_id = ids.parse(request.id, "id")
        async with self._database.read_transaction() as tx:
            return (await receipts.get_receipt(tx, receipt_id)).to_wire()

    async def AdjustStock(
        self, request: api.AdjustStockRequest, context: object
    ) -> pb.StockAdjustment:
        """Corrects what is on hand. What is reserved cannot be taken away."""
        command = AdjustStock.from_wire(request)
        made = await self._database.run(lambda tx: adjustments.adjust(tx, command))
        return made.to_wire()

    async def GetStockAdjustment(
        self, request: api.GetStockAdjustmentRequest, context: object
    ) -> pb.StockAdjustment:
        """Reads one adjustment."""
        adjustment_id = ids.parse(request.id, "id")
        async with self._database.read_transaction() as tx:
            return (await adjustments.get_adjustment(tx, adjustment_id)).to_wire()

    async def TransferStock(
        self, request: api.TransferStockRequest, context: object
    ) -> pb.StockTransfer:
        """Sends goods to another warehouse."""
        command = TransferStock.from_wire(request)
        return (await self._database.run(lambda tx: transferring.send(tx, command))).to_wire()

    async def GetStockTransfer(
        self, request: api.GetStockTransferRequest, context: object
    ) -> pb.StockTransfer:
        """Reads one transfer."""
        transfer_id = ids.parse(request.id, "id")
        async with self._database.read_transaction() as tx:
            return (await transfers.get_transfer(tx, transfer_id)).to_wire()

    async def ListStockTransfers(
        self, request: api.ListStockTransfersRequest, context: object
    ) -> api.ListStockTransfersResponse:
        """Lists transfers, oldest first."""
        page = Page.from_wire(request)
        async with self._database.read_transaction() as tx:
            found, token = await transfers.list_transfers(tx, page, request.state)
        listed = [transfer.to_wire() for transfer in found]
        return api.ListStockTransfersResponse(stock_transfers=listed, next_page_token=token)

    async def ReceiveStockTransfer(
        self, request: api.ReceiveStockTransferRequest, context: object
    ) -> pb.StockTransfer:
        """Takes goods of a transfer in at its destination, whole or in part."""
        command = ReceiveTransfer.from_wire(request)
        async with self._open_locks().hold(f"transfer:{command.id}"):
            received = await self._database.run(lambda tx: transferring.receive(tx, command))
        return received.to_wire()

    async def CancelStockTransfer(
        self, request: api.CancelStockTransferRequest, context: object
    ) -> pb.StockTransfer:
        """Puts what of a transfer has not been received back to where it came from."""
        key = ids.parse(request.id, "id")
        async with self._open_locks().hold(f"transfer:{key}"):
            cancelled = await self._database.run(lambda tx: transferring.cancel(tx, key))
        return cancelled.to_wire()

    async def StartStockCount(
        self, request: api.StartStockCountRequest, context: object
    ) -> pb.StockCount:
        """Begins to count what a warehouse really holds."""
        command = StartCount.from_wire(request)
        async with self._open_locks().hold(f"count:{command.warehouse_id}"):
            return (await self._database.run(lambda tx: counting.start(tx, command))).to_wire()

    async def GetStockCount(
        self, request: api.GetStockCountRequest, context: object
    ) -> pb.StockCount:
        """Reads one count."""
        count_id = ids.parse(request.id, "id")
        async with self._database.read_transaction() as tx:
            return (await counts.get_count(tx, count_id)).to_wire()

    async def ListStockCounts(
        self, request: api.ListStockCountsRequest, context: object
    ) -> api.ListStockCountsResponse:
        """Lists counts, oldest first, without their lines."""
        place = ids.parse_optional(request.warehouse_id, "warehouse_id")
        page = Page.from_wire(request)
        async with self._database.read_transaction() as tx:
            found, token = await counts.list_counts(
                tx, page, warehouse_id=place, state=request.state
            )
        listed = [count.to_wire() for count in found]
        return api.ListStockCountsResponse(stock_counts=listed, next_page_token=token)

    async def RecordStockCount(
        self, request: api.RecordStockCountRequest, context: object
    ) -> pb.StockCount:
        """Notes how much was found of some products of a count."""
        command = RecordCount.from_wire(request)
        async with self._open_locks().hold(f"count:{command.id}"):
            return (await self._database.run(lambda tx: counting.record(tx, command))).to_wire()

    async def PostStockCount(
        self, request: api.PostStockCountRequest, context: object
    ) -> pb.StockCount:
        """Puts the differences of a count into stock, all or none."""
        command = PostCount.from_wire(request)
        async with self._open_locks().hold(f"count:{command.id}"):
            return (await self._database.run(lambda tx: counting.post(tx, command))).to_wire()

    async def CancelStockCount(
        self, request: api.CancelStockCountRequest, context: object
    ) -> pb.StockCount:
        """Gives a count up."""
        key = ids.parse(request.id, "id")
        async with self._open_locks().hold(f"count:{key}"):
            return (await self._database.run(lambda tx: counting.cancel(tx, key))).to_wire()

    async def ReserveStock(
        self, request: api.ReserveStockRequest, context: object
    ) -> pb.Reservation:
        """Holds stock, all lines or none, until it ships, is released, or its time runs out."""
        return (await self._reserving.run(ReserveStock.from_wire(request))).to_wire()

    async def ReserveForOrder(
        self, request: api.ReserveForOrderRequest, context: object
    ) -> pb.Reservation:
        """Holds stock for an order that refuses backorders, before the order is confirmed."""
        return (await self._reserving.run(ReserveStock.before_confirmation(request))).to_wire()

    async def PlanReservation(
        self, request: api.PlanReservationRequest, context: object
    ) -> pb.Reservation:
        """Tells what would become of an order's goods."""
        with rehearsing():
            planned = await self._database.run(
                lambda tx: planning.plan_reservation(tx, request.event)
            )
        return planned.to_wire()

    async def GetReservation(
        self, request: api.GetReservationRequest, context: object
    ) -> pb.Reservation:
        """Reads one reservation."""
        reservation_id = ids.parse(request.id, "id")
        async with self._database.read_transaction() as tx:
            return (await promises.get_reservation(tx, reservation_id)).to_wire()

    async def ListReservations(
        self, request: api.ListReservationsRequest, context: object
    ) -> api.ListReservationsResponse:
        """Lists reservations, oldest first."""
        order_id = ids.parse_optional(request.order_id, "order_id")
        reference = request.reference if request.HasField("reference") else None
        page = Page.from_wire(request)
        async with self._database.read_transaction() as tx:
            found, token = await promises.list_reservations(
                tx, page, order_id=order_id, reference=reference, state=request.state
            )
        return api.ListReservationsResponse(
            reservations=[reservation.to_wire() for reservation in found], next_page_token=token
        )

    async def ReleaseReservation(
        self, request: api.ReleaseReservationRequest, context: object
    ) -> pb.Reservation:
        """Lets go of what a reservation holds."""
        return (await self._releasing.run(ReleaseReservation.from_wire(request))).to_wire()

    async def ReleaseHold(self, request: api.ReleaseHoldRequest, context: object) -> pb.Reservation:
        """Lets go of what ReserveForOrder held, unless the order's confirmation made it lasting."""
        return (await self._releasing.run(ReleaseReservation.of_hold(request))).to_wire()

    async def ShipReservation(
        self, request: api.ShipReservationRequest, context: object
    ) -> pb.Reservation:
        """Takes reserved goods out of the warehouse, whole or in part."""
        return (await self._shipping.run(ShipReservation.from_wire(request))).to_wire()

    async def ResolveGoods(
        self, request: api.ResolveGoodsRequest, context: object
    ) -> api.ResolveGoodsResponse:
        """Describes the products and warehouses that an order names."""
        product_ids = [ids.parse(text, "product_ids") for text in request.product_ids]
        warehouse_ids = [ids.parse(text, "warehouse_ids") for text in request.warehouse_ids]
        async with self._database.read_transaction() as tx:
            goods = await products.find_products(tx, product_ids)
            places = await warehouses.find_warehouses(tx, warehouse_ids)
        return api.ResolveGoodsResponse(
            products=[product.to_wire() for product in goods],
            warehouses=[place.to_wire() for place in places],
        )
