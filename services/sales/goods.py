"""What other services know about an order: its products, its warehouse, and how it is billed."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Self
from uuid import UUID

from common.errors import NotFound
from common.money import Money, format_quantity
from erp.accounting.v1 import accounting_service_pb2 as accounting
from erp.inventory.v1 import inventory_pb2 as inventory_pb
from erp.inventory.v1 import inventory_service_pb2 as inventory
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1.events_pb2 import OrderConfirmed

# Long enough for the confirmation to be heard of, short enough to be no loss if it never is.
HOLD_SECONDS = 300


@dataclass(frozen=True)
class Product:
    """What we need to know of a product to sell it."""

    id: UUID
    sku: str
    name: str
    list_price: Money
    archived: bool

    @classmethod
    def from_wire(cls, product: inventory_pb.Product) -> Self:
        """Read the product."""
        return cls(
            UUID(product.id),
            product.sku,
            product.name,
            Money.from_wire(product.list_price, "list_price"),
            product.state == inventory_pb.PRODUCT_STATE_ARCHIVED,
        )


@dataclass(frozen=True)
class Goods:
    """The products and warehouses that exist, of those that were asked for."""

    products: Mapping[UUID, Product]
    warehouses: frozenset[UUID]

    @classmethod
    def from_wire(cls, response: inventory.ResolveGoodsResponse) -> Self:
        """Read the answer."""
        products = map(Product.from_wire, response.products)
        warehouses = frozenset(UUID(warehouse.id) for warehouse in response.warehouses)
        return cls({product.id: product for product in products}, warehouses)

    def get_product(self, product_id: UUID) -> Product:
        """The product with this id.

        Raises:
            NotFound: there is none.
        """
        try:
            return self.products[product_id]
        except KeyError:
            raise NotFound("product", product_id) from None


@dataclass(frozen=True)
class Billing:
    """How the company bills: the tax when an order names none, and the currency of its books."""

    tax_rate: Decimal
    currency_code: str

    @classmethod
    def from_wire(cls, defaults: accounting.BillingDefaults) -> Self:
        """Read the answer."""
        return cls(Decimal(defaults.tax_rate), defaults.currency_code)


@dataclass(frozen=True)
class Hold:
    """Goods that must be held before an order can be confirmed, since it refuses to wait."""

    order_id: UUID
    warehouse_id: UUID
    units: Mapping[UUID, Decimal]

    def to_wire(self) -> inventory.ReserveForOrderRequest:
        """The request to hold them."""
        return inventory.ReserveForOrderRequest(
            order_id=str(self.order_id),
            warehouse_id=str(self.warehouse_id),
            lines=[
                inventory.StockLine(product_id=str(product_id), quantity=format_quantity(quantity))
                for product_id, quantity in self.units.items()
            ],
            ttl_seconds=HOLD_SECONDS,
        )


@dataclass(frozen=True)
class OtherServices:
    """What is asked of other services, always outside any transaction."""

    # Products by id, warehouses by id.
    resolve_goods: Callable[[Collection[UUID], Collection[UUID]], Awaitable[Goods]]
    get_billing: Callable[[], Awaitable[Billing]]
    # Returns the reservation's id; raises the inventory's own error when goods are missing.
    hold_goods: Callable[[Hold], Awaitable[UUID]]
    # Lets go of a reservation, if it still can be.
    release_goods: Callable[[UUID], Awaitable[object]]
    # What they would do about an order if it were confirmed.
    plan_order: Callable[[OrderConfirmed], Awaitable[pb.OrderPlan]]


def add_up(units: Iterable[tuple[UUID, Decimal]]) -> dict[UUID, Decimal]:
    """The units of each product, or of each line, together."""
    sums: dict[UUID, Decimal] = {}
    for key, quantity in units:
        sums[key] = sums.get(key, Decimal(0)) + quantity
    return sums
