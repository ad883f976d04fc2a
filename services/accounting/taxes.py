"""Tax rates, one of which is the default."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Self
from uuid import UUID

from sqlalchemy import Row, func, insert, select, update

from accounting.books import books_not_open, currency_of_books, open_books
from accounting.errors import TaxRateCodeTaken
from accounting.tables import companies, tax_rates
from common import ids
from common.bulk import insert_rows
from common.database import Transaction, translating
from common.listing import Listing
from common.money import format_quantity
from common.pagination import Page
from erp.accounting.v1 import accounting_pb2 as pb
from erp.accounting.v1 import accounting_service_pb2 as service_pb

# The cache's tag of what others keep of `billing_defaults`.
BILLING = "billing"
_LIST = Listing(service_pb.ListTaxRatesRequest, tax_rates.c, "code")
USUAL_RATES = (
    ("standard", "Standard rate", Decimal("0.19"), True),
    ("reduced", "Reduced rate", Decimal("0.07"), False),
    ("zero", "Zero rate", Decimal(0), False),
)


@dataclass(frozen=True)
class CreateTaxRate:
    """Add a tax rate; as the default it takes the place of the one before."""

    code: str
    name: str
    rate: Decimal
    is_default: bool

    @classmethod
    def from_wire(cls, request: service_pb.CreateTaxRateRequest) -> Self:
        """Read the request, its rate already validated."""
        return cls(request.code, request.name, Decimal(request.rate), request.is_default)


@dataclass(frozen=True)
class TaxRate:
    """A tax as a fraction of net."""

    id: UUID
    code: str
    name: str
    rate: Decimal
    is_default: bool
    version: int

    @classmethod
    def of(cls, row: Row[tuple[object, ...]]) -> Self:
        """Read a row of the table."""
        names = ("id", "code", "name", "rate", "is_default", "version")
        return cls(*(getattr(row, name) for name in names))

    def to_wire(self) -> pb.TaxRate:
        """The tax rate as it travels."""
        return pb.TaxRate(
            id=str(self.id),
            code=self.code,
            name=self.name,
            rate=format_quantity(self.rate),
            is_default=self.is_default,
            version=self.version,
        )


@dataclass(frozen=True)
class BillingDefaults:
    """What sales needs to price an order."""

    tax_rate: Decimal
    currency: str

    def to_wire(self) -> service_pb.BillingDefaults:
        """The defaults as they travel."""
        rate = format_quantity(self.tax_rate)
        return service_pb.BillingDefaults(tax_rate=rate, currency_code=self.currency)


async def add_usual_rates(tx: Transaction) -> None:
    """Give a new company the usual rates."""
    names = ("code", "name", "rate", "is_default")
    rows = [{"id": ids.new(), **dict(zip(names, rate, strict=True))} for rate in USUAL_RATES]
    await insert_rows(tx, tax_rates, rows)


async def create_tax_rate(tx: Transaction, command: CreateTaxRate) -> TaxRate:
    """Add a tax rate.

    Raises:
        TaxRateCodeTaken: another rate has the code.
    """
    # While the books are held, nobody else makes another rate the default.
    await open_books(tx)
    if command.is_default:
        await _no_default(tx)
        tx.outdate(BILLING)
    new = insert(tax_rates).values(id=ids.new(), **vars(command)).returning(tax_rates)
    with translating({"tax_rates_code": TaxRateCodeTaken(command.code)}):
        row = (await tx.execute(new)).one()
    return TaxRate.of(row)


async def list_tax_rates(tx: Transaction, page: Page) -> tuple[list[TaxRate], str]:
    """A page of tax rates by code, and the token of the next page.

    Raises:
        Unavailable: the company's books have not been opened yet.
    """
    await currency_of_books(tx)
    rows, token = await _LIST.read(tx, select(tax_rates), page)
    return [TaxRate.of(row) for row in rows], token


async def billing_defaults(tx: Transaction) -> BillingDefaults:
    """The default tax rate and the currency of the books.

    Raises:
        Unavailable: the company's books have not been opened yet.
    """
    query = select(companies.c.currency_code, tax_rates.c.rate).join_from(
        companies, tax_rates, tax_rates.c.tenant_id == companies.c.tenant_id
    )
    row = await tx.row(query.where(tax_rates.c.is_default))
    if row is None:
        raise books_not_open()
    return BillingDefaults(row.rate, row.currency_code)


async def _no_default(tx: Transaction) -> None:
    values = {"is_default": False, "version": tax_rates.c.version + 1, "updated_at": func.now()}
    await tx.execute(update(tax_rates).where(tax_rates.c.is_default).values(values))
