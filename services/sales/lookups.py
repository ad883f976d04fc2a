"""Products, warehouses and billing defaults as others know them, asked for only when they change.

Each is kept under a tag that its owner flushes before a change is answered: an order that comes
after the change of a price has the new price.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from uuid import UUID

from common.cache import Cache
from erp.accounting.v1.accounting_service_pb2 import BillingDefaults
from erp.inventory.v1.inventory_service_pb2 import ResolveGoodsRequest, ResolveGoodsResponse
from sales.goods import Billing, Goods

# For what nobody flushes: a flush whose process died, a default tax rate changed by hand.
KEPT_SECONDS = 60
_BILLING = "billing"
_PRODUCT, _WAREHOUSE = "goods:product:", "goods:warehouse:"


class Lookups:
    """What sales asks of others again and again.

    Args:
        cache: keeps the answers.
        resolve: asks inventory.
        billing: asks accounting.
    """

    def __init__(
        self,
        cache: Cache,
        resolve: Callable[[ResolveGoodsRequest], Awaitable[ResolveGoodsResponse]],
        billing: Callable[[], Awaitable[BillingDefaults]],
    ) -> None:
        self._cache = cache
        self._resolve = resolve
        self._billing = billing

    async def resolve_goods(
        self, products: Collection[UUID], warehouses: Collection[UUID]
    ) -> Goods:
        """Those of the products and warehouses that exist."""
        names = [f"{_PRODUCT}{key}" for key in products]
        names += [f"{_WAREHOUSE}{key}" for key in warehouses]
        found = await self._cache.remember_all(names, KEPT_SECONDS, self._ask_inventory, _tags)
        answer = ResolveGoodsResponse()
        for name, value in found.items():
            same_kind = answer.products if name.startswith(_PRODUCT) else answer.warehouses
            same_kind.add().ParseFromString(value)
        return Goods.from_wire(answer)

    async def get_billing(self) -> Billing:
        """How the company bills."""
        kept = await self._cache.remember(_BILLING, KEPT_SECONDS, self._ask_accounting, [_BILLING])
        return Billing.from_wire(BillingDefaults.FromString(kept or b""))

    async def _ask_inventory(self, names: Collection[str]) -> Mapping[str, bytes]:
        answer = await self._resolve(
            ResolveGoodsRequest(
                product_ids=_ids(names, _PRODUCT), warehouse_ids=_ids(names, _WAREHOUSE)
            )
        )
        products = {f"{_PRODUCT}{item.id}": item for item in answer.products}
        warehouses = {f"{_WAREHOUSE}{item.id}": item for item in answer.warehouses}
        return {name: item.SerializeToString() for name, item in (products | warehouses).items()}

    async def _ask_accounting(self) -> bytes:
        return (await self._billing()).SerializeToString()


def _tags(name: str) -> tuple[str]:
    """What changes of goods are flushed by: the record's id."""
    return (name.rpartition(":")[2],)


def _ids(names: Collection[str], kind: str) -> list[str]:
    return [name.removeprefix(kind) for name in names if name.startswith(kind)]
