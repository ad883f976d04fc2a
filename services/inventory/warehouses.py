"""Places that hold stock."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select

from common import ids
from common.database import Transaction, translating
from common.errors import NotFound
from common.listing import Listing
from common.pagination import Page
from common.wire import timestamp
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from inventory.companies import get_company
from inventory.errors import CodeTaken
from inventory.tables import one_of, warehouses

_LIST = Listing(api.ListWarehousesRequest, warehouses.c, "id")


@dataclass(frozen=True)
class Warehouse:
    """A warehouse as it is stored."""

    id: UUID
    code: str
    name: str
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_row(cls, row: Row[Any]) -> "Warehouse":
        """The warehouse in a row of its table."""
        return cls(row.id, row.code, row.name, row.version, row.created_at, row.updated_at)

    def to_wire(self) -> pb.Warehouse:
        """The warehouse as it travels."""
        return pb.Warehouse(
            id=str(self.id),
            code=self.code,
            name=self.name,
            version=self.version,
            create_time=timestamp(self.created_at),
            update_time=timestamp(self.updated_at),
        )


@dataclass(frozen=True)
class CreateWarehouse:
    """A warehouse to add."""

    code: str
    name: str

    @classmethod
    def from_wire(cls, request: api.CreateWarehouseRequest) -> "CreateWarehouse":
        """Read the request."""
        return cls(request.code, request.name)


async def create_warehouse(tx: Transaction, command: CreateWarehouse) -> Warehouse:
    """Add a warehouse.

    Raises:
        CodeTaken: the company has a warehouse with this code.
    """
    await get_company(tx)
    row = {"id": ids.new(), "code": command.code, "name": command.name}
    with translating({"warehouses_code_key": CodeTaken(command.code)}):
        stored = (await tx.execute(insert(warehouses).values(row).returning(warehouses))).one()
    return Warehouse.from_row(stored)


async def get_warehouse(tx: Transaction, warehouse_id: UUID) -> Warehouse:
    """One warehouse.

    Raises:
        NotFound: there is no such warehouse.
    """
    row = await tx.row(select(warehouses).where(warehouses.c.id == warehouse_id))
    if row is None:
        raise NotFound("warehouse", warehouse_id)
    return Warehouse.from_row(row)


async def list_warehouses(tx: Transaction, page: Page) -> tuple[list[Warehouse], str]:
    """A page of warehouses, oldest first, and the token of the next page."""
    rows, token = await _LIST.read(tx, select(warehouses), page)
    return [Warehouse.from_row(row) for row in rows], token


async def find_warehouses(tx: Transaction, warehouse_ids: Sequence[UUID]) -> list[Warehouse]:
    """Those of the warehouses that exist, in no order."""
    if not warehouse_ids:
        return []
    rows = await tx.rows(select(warehouses).where(one_of(warehouses.c.id, warehouse_ids)))
    return [Warehouse.from_row(row) for row in rows]
