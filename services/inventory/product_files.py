"""Products in files: how their rows are read in and written out."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Text, any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from common import ids, jobs, outbox, validation
from common.bulk import insert_rows, update_rows
from common.connections import TooBusy
from common.database import Transaction, translating
from common.errors import DomainError
from common.files.exports import Export, write_out
from common.files.reading import Effect, Outcome, Reader, read_in
from common.files.tabular import Columns, Row
from common.money import Money
from erp.inventory.v1.inventory_service_pb2 import CreateProductRequest
from erp.inventory.v1.jobs_pb2 import RunProductExport, RunProductImport
from erp.types.v1 import money_pb2
from inventory.companies import Company, get_company
from inventory.products import Product
from inventory.tables import products

COLUMNS = Columns(
    ("sku", "name", "description", "list_price", "currency_code"),
    ignored=("state",),
    nested={"list_price": {"amount": "list_price", "currency_code": "currency_code"}},
)
_PAGE_ROWS = 1_000
_SKUS = bindparam("skus", type_=ARRAY(Text))
# In id order, as everybody locks.
_LOCK = (
    select(products).where(products.c.sku == any_(_SKUS)).order_by(products.c.id).with_for_update()
)
_WRITTEN = ("id", "sku", "name", "description", "state", "version", "created_at", "updated_at")


@dataclass
class _Changes:
    """What rows come to."""

    company: Company
    known: dict[str, Product]
    made: list[Product]
    changed: list[Product]

    def decide(self, row: Row) -> Effect:
        """What a row does.

        Raises:
            DomainError: it is wrong.
        """
        now = datetime.now(UTC)
        before = self.known.get(row.cells.get("sku", ""))
        wanted = _wanted(row, before, self.company, now)
        if before is None:
            self.made.append(wanted)
            return Effect.CREATED
        if replace(wanted, updated_at=before.updated_at) == before:
            return Effect.UNCHANGED
        self.changed.append(replace(wanted, version=before.version + 1))
        return Effect.UPDATED


def _wanted(row: Row, before: Product | None, company: Company, now: datetime) -> Product:
    """The product that a row asks for; what it does not say stays as it is."""
    request = CreateProductRequest(
        sku=row.cells.get("sku", ""),
        name=row.cells.get("name", before.name if before else ""),
        description=row.cells.get("description", before.description if before else ""),
        list_price=_price(row, before, company),
    )
    validation.check(request)
    price = Money.from_wire(request.list_price, "list_price")
    # Refuses what is not in the currency of the books.
    company.minor(price, "list_price")
    return Product(
        before.id if before else ids.new(),
        request.sku,
        request.name,
        request.description,
        price,
        before.state if before else "active",
        before.version if before else 1,
        before.created_at if before else now,
        now,
    )


def _price(row: Row, before: Product | None, company: Company) -> money_pb2.Money | None:
    price = before.list_price.to_wire() if before else None
    amount = row.cells.get("list_price") or (price.amount if price else None)
    if amount is None:
        return None
    currency = row.cells.get("currency_code") or company.currency_code
    return money_pb2.Money(currency_code=currency, amount=amount)


async def apply_rows(tx: Transaction, rows: Sequence[Row], write: bool) -> list[Outcome]:
    """Make new products and change those that are there, known by their sku.

    Raises:
        TooBusy: somebody made one of them meanwhile.
    """
    skus = [row.cells.get("sku", "") for row in rows]
    known = [Product.from_row(row) for row in await tx.rows(_LOCK, {"skus": skus})]
    by_sku = {product.sku: product for product in known}
    changes = _Changes(await get_company(tx), by_sku, [], [])
    outcomes = [_decided(changes, row) for row in rows]
    if write:
        await _write(tx, changes)
    return outcomes


def _decided(changes: _Changes, row: Row) -> Outcome:
    try:
        return changes.decide(row)
    except DomainError as error:
        return error


async def _write(tx: Transaction, changes: _Changes) -> None:
    with translating({"products_sku_key": TooBusy()}):
        await insert_rows(tx, products, [_columns(product) for product in changes.made])
    await update_rows(tx, products, ("id",), [_columns(product) for product in changes.changed])
    outbox.publish(tx, *(product.created() for product in changes.made))
    outbox.publish(tx, *(product.changed() for product in changes.changed))
    tx.outdate(*(product.id for product in changes.changed))


def _columns(product: Product) -> dict[str, Any]:
    return {
        **{name: getattr(product, name) for name in _WRITTEN},
        "list_price_currency": product.list_price.currency,
        "list_price_minor": product.list_price.minor,
    }


def _key(row: Row) -> tuple[str, ...] | None:
    sku = row.cells.get("sku")
    return (sku,) if sku else None


READER = Reader(COLUMNS, _key, apply_rows)


async def all_rows(tx: Transaction, _export: Export) -> AsyncIterator[list[list[str]]]:
    """All products, oldest first."""
    after = UUID(int=0)
    while True:
        page = select(products).where(products.c.id > after).order_by(products.c.id)
        rows = await tx.rows(page.limit(_PAGE_ROWS))
        if not rows:
            return
        yield [_cells(Product.from_row(row)) for row in rows]
        after = rows[-1].id


def _cells(product: Product) -> list[str]:
    price = product.list_price.to_wire()
    names = [product.sku, product.name, product.description]
    return [*names, price.amount, price.currency_code, product.state]


@jobs.handles(RunProductImport, queue="low", tries=5, timeout=900)
async def run_import(work: jobs.Work[RunProductImport]) -> None:
    """Read products in."""
    await read_in(work, UUID(work.message.import_id), READER)


@jobs.handles(RunProductExport, queue="low", tries=5, timeout=300)
async def run_export(work: jobs.Work[RunProductExport]) -> None:
    """Write products to a file."""
    await write_out(work, UUID(work.message.export_id), COLUMNS, all_rows)
