"""What is bought, stocked and sold."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, insert, select

from common import ids, outbox
from common.database import Transaction, translating
from common.errors import InvalidRequest, NotFound
from common.listing import Listing
from common.money import Money
from common.optimistic import update_version
from common.pagination import Page
from common.search import Search
from common.wire import enum_value, enum_word, timestamp
from erp.inventory.v1 import inventory_pb2 as pb
from erp.inventory.v1 import inventory_service_pb2 as api
from erp.inventory.v1.events_pb2 import ProductChanged, ProductCreated
from inventory.companies import get_company
from inventory.errors import ProductArchived, SkuTaken
from inventory.tables import one_of, product_words, products

ARCHIVED = "archived"
_LIST = Listing(api.ListProductsRequest, products.c, "id")
_SEARCH = Search(products.c.id, product_words)
_CHANGEABLE = frozenset({"name", "description", "list_price"})


@dataclass(frozen=True)
class Product:
    """A product as it is stored."""

    id: UUID
    sku: str
    name: str
    description: str
    list_price: Money
    state: str
    version: int
    created_at: datetime
    updated_at: datetime

    @classmethod
    def from_row(cls, row: Row[Any]) -> "Product":
        """The product in a row of its table."""
        return cls(
            row.id,
            row.sku,
            row.name,
            row.description,
            Money(row.list_price_currency, row.list_price_minor),
            row.state,
            row.version,
            row.created_at,
            row.updated_at,
        )

    def to_wire(self) -> pb.Product:
        """The product as it travels."""
        return pb.Product(
            id=str(self.id),
            sku=self.sku,
            name=self.name,
            description=self.description,
            list_price=self.list_price.to_wire(),
            state=enum_value(pb.ProductState, self.state),
            version=self.version,
            create_time=timestamp(self.created_at),
            update_time=timestamp(self.updated_at),
        )

    def created(self) -> ProductCreated:
        """The event that it exists."""
        price = self.list_price.to_wire()
        return ProductCreated(
            product_id=str(self.id), sku=self.sku, name=self.name, list_price=price
        )

    def changed(self) -> ProductChanged:
        """The event that it is now like this."""
        return ProductChanged(
            product_id=str(self.id),
            sku=self.sku,
            name=self.name,
            list_price=self.list_price.to_wire(),
            version=self.version,
            archived=self.state == ARCHIVED,
        )


@dataclass(frozen=True)
class CreateProduct:
    """A product to add."""

    sku: str
    name: str
    description: str
    list_price: Money

    @classmethod
    def from_wire(cls, request: api.CreateProductRequest) -> "CreateProduct":
        """Read the request."""
        price = Money.from_wire(request.list_price, "list_price")
        return cls(request.sku, request.name, request.description, price)


@dataclass(frozen=True)
class UpdateProduct:
    """A change of the fields that are not None."""

    id: UUID
    version: int
    name: str | None = None
    description: str | None = None
    list_price: Money | None = None

    @classmethod
    def from_wire(cls, request: api.UpdateProductRequest) -> "UpdateProduct":
        """Read the request.

        Raises:
            InvalidRequest: the mask names what cannot be changed, or a field that cannot be empty.
        """
        changed = _masked(request)
        if "name" in changed and not request.name:
            raise InvalidRequest.of("/name", "must not be empty")
        price = None
        if "list_price" in changed:
            if not request.HasField("list_price"):
                raise InvalidRequest.of("/list_price", "must not be empty")
            price = Money.from_wire(request.list_price, "list_price")
        return cls(
            ids.parse(request.id, "id"),
            request.version,
            request.name if "name" in changed else None,
            request.description if "description" in changed else None,
            price,
        )


def _masked(request: api.UpdateProductRequest) -> set[str]:
    if not request.HasField("update_mask"):
        return {field.name for field, _ in request.ListFields()} & _CHANGEABLE
    paths = set(request.update_mask.paths)
    if paths - _CHANGEABLE:
        can_change = ", ".join(sorted(_CHANGEABLE))
        raise InvalidRequest.of("/update_mask", f"must name some of {can_change}")
    return paths


async def create_product(tx: Transaction, command: CreateProduct) -> Product:
    """Add a product.

    Raises:
        SkuTaken: the company has a product with this stock keeping unit.
        CurrencyMismatch: the price is in another currency than the company's books.
    """
    price = (await get_company(tx)).minor(command.list_price, "list_price")
    row = {
        "id": ids.new(),
        "sku": command.sku,
        "name": command.name,
        "description": command.description,
        "list_price_currency": command.list_price.currency,
        "list_price_minor": price,
    }
    with translating({"products_sku_key": SkuTaken(command.sku)}):
        stored = (await tx.execute(insert(products).values(row).returning(products))).one()
    product = Product.from_row(stored)
    outbox.publish(tx, product.created())
    return product


async def update_product(tx: Transaction, command: UpdateProduct) -> Product:
    """Change the fields that the command gives.

    Raises:
        NotFound: there is no such product.
        ConcurrentModification: it has another version by now.
        CurrencyMismatch: the price is in another currency than the company's books.
    """
    values: dict[str, Any] = {}
    if command.name is not None:
        values["name"] = command.name
    if command.description is not None:
        values["description"] = command.description
    if command.list_price is not None:
        company = await get_company(tx)
        values["list_price_minor"] = company.minor(command.list_price, "list_price")
    return await _change(tx, command.id, command.version, values)


async def archive_product(tx: Transaction, product_id: UUID, version: int) -> Product:
    """Take a product out of trade; what is in stock or reserved stays.

    Raises:
        NotFound: there is no such product.
        ConcurrentModification: it has another version by now.
        ProductArchived: it is archived already.
    """
    known = await get_product(tx, product_id)
    if known.state == ARCHIVED:
        raise ProductArchived(known.sku, known.id)
    # The version that was seen active: of two that archive at once, one is told.
    return await _change(tx, product_id, version or known.version, {"state": ARCHIVED})


async def _change(
    tx: Transaction, product_id: UUID, version: int, values: dict[str, Any]
) -> Product:
    row = await update_version(tx, products, "product", product_id, version, values)
    product = Product.from_row(row)
    outbox.publish(tx, product.changed())
    tx.outdate(product.id)
    return product


async def get_product(tx: Transaction, product_id: UUID) -> Product:
    """One product.

    Raises:
        NotFound: there is no such product.
    """
    row = await tx.row(select(products).where(products.c.id == product_id))
    if row is None:
        raise NotFound("product", product_id)
    return Product.from_row(row)


async def list_products(
    tx: Transaction, page: Page, *, sku: str | None, state: int, query: str
) -> tuple[list[Product], str]:
    """A page of products, oldest first, and the token of the next page.

    Raises:
        InvalidRequest: the query has no word or too many, or filter, order or token are wrong.
    """
    statement = select(products)
    if sku is not None:
        statement = statement.where(products.c.sku == sku)
    if state:
        statement = statement.where(products.c.state == enum_word(pb.ProductState, state))
    if query:
        statement = statement.where(await _SEARCH.condition(tx, query))
    rows, token = await _LIST.read(tx, statement, page)
    return [Product.from_row(row) for row in rows], token


async def find_products(tx: Transaction, product_ids: Sequence[UUID]) -> list[Product]:
    """Those of the products that exist, archived ones too, in no order."""
    if not product_ids:
        return []
    rows = await tx.rows(select(products).where(one_of(products.c.id, product_ids)))
    return [Product.from_row(row) for row in rows]
