"""The confirmed orders of several services side by side, a part at a time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Mapping, Sequence
from typing import Any, Protocol

from erp.audit.v1.audit_pb2 import ListOrdersRequest

# The orders of each service that lie in one range of ids.
Window = Mapping[str, set[str]]


class OrderList(Protocol):
    """Lists orders by id, a page at a time."""

    def ListOrders(self, request: ListOrdersRequest) -> Awaitable[Any]: ...  # noqa: N802, D102


async def windows(lists: Mapping[str, OrderList]) -> AsyncIterator[Window]:
    """Consecutive ranges of ids that together cover all orders; one page of each is held."""
    streams = {name: _Stream(orders) for name, orders in lists.items()}
    while True:
        await asyncio.gather(*(stream.fill() for stream in streams.values()))
        if all(stream.is_over for stream in streams.values()):
            return
        # What every stream has reached: beyond, an order may still be on a page not yet read.
        bound = min(
            (stream.last for stream in streams.values() if not stream.is_last), default=None
        )
        yield {name: stream.take(bound) for name, stream in streams.items()}


class _Stream:
    """The orders of one service that have been read and not compared."""

    def __init__(self, orders: OrderList) -> None:
        self._list = orders
        self._page: Sequence[str] = ()
        self.last = ""
        self.is_last = False

    @property
    def is_over(self) -> bool:
        return self.is_last and not self._page

    async def fill(self) -> None:
        """Read the next page when nothing is left of this one."""
        if self._page or self.is_last:
            return
        answer = await self._list.ListOrders(ListOrdersRequest(after_id=self.last))
        self._page = list(answer.order_ids)
        self.is_last = not self._page
        self.last = self._page[-1] if self._page else self.last

    def take(self, bound: str | None) -> set[str]:
        """The orders up to this one, or all."""
        taken = {order for order in self._page if bound is None or order <= bound}
        self._page = [order for order in self._page if order not in taken]
        return taken
