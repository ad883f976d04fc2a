"""Many new orders in one request: read one by one, answered one by one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from common import validation
from common.errors import DomainError, InvalidField, InvalidRequest
from common.status import to_status
from erp.sales.v1 import sales_pb2 as pb
from erp.sales.v1 import sales_service_pb2 as rpc
from sales.drafting import CreateOrder
from sales.orders import Order


class OrderRefused(DomainError):
    """The error of one order, which keeps a whole batch from being made: says which order it is."""

    detail = "Order {order_index}: {cause}"

    def __init__(self, order_index: int, cause: DomainError) -> None:
        super().__init__()
        self._values = {**cause.values(), "order_index": str(order_index)}
        self._text = str(cause)
        # Written past the class variables of DomainError: these are the cause's own.
        vars(self).update(
            status=cause.status,
            reason=cause.reason,
            retry_after_seconds=cause.retry_after_seconds,
        )

    def __str__(self) -> str:
        return self._text

    def values(self) -> dict[str, str]:
        """The cause's values, and the order's place in the batch."""
        return self._values


def at_order(order_index: int, error: DomainError) -> DomainError:
    """The error of an order, saying at which place in the batch it stands."""
    violations: Sequence[InvalidField] = getattr(error, "violations", ())
    if not violations:
        return OrderRefused(order_index, error)
    return InvalidRequest(_of_order(order_index, violations))


def _of_order(order_index: int, fields: Sequence[InvalidField]) -> list[InvalidField]:
    return [InvalidField(f"/orders/{order_index}{item.pointer}", item.rule) for item in fields]


@dataclass(frozen=True)
class BatchCreateOrders:
    """Makes many orders: each by itself, or all or none."""

    rows: Sequence[CreateOrder | DomainError]
    atomic: bool

    @classmethod
    def from_wire(cls, request: rpc.BatchCreateOrdersRequest) -> Self:
        """Read the request; an order that cannot be read is its error.

        Raises:
            InvalidRequest: all are wanted or none, and some cannot be read.
        """
        rows = [_read(order) for order in request.orders]
        if request.atomic:
            _demand_readable(rows)
        return cls(rows, request.atomic)


def _read(order: rpc.CreateOrderRequest) -> CreateOrder | DomainError:
    try:
        validation.check(order)
        return CreateOrder.from_wire(order)
    except DomainError as error:
        return error


def _demand_readable(rows: Sequence[CreateOrder | DomainError]) -> None:
    wrong = [
        field
        for place, row in enumerate(rows)
        if isinstance(row, InvalidRequest)
        for field in _of_order(place, row.violations)
    ]
    if wrong:
        raise InvalidRequest(wrong)


@dataclass(frozen=True)
class BatchOutcome:
    """What became of each order, in the order of the request."""

    # A wire message is the kept answer to an order that was made before.
    rows: Sequence[Order | pb.Order | DomainError]

    def to_wire(self) -> rpc.BatchCreateOrdersResponse:
        """The answer."""
        return rpc.BatchCreateOrdersResponse(results=map(_result, self.rows))


def _result(outcome: Order | pb.Order | DomainError) -> rpc.BatchCreateOrdersResult:
    if isinstance(outcome, DomainError):
        return rpc.BatchCreateOrdersResult(error=to_status(outcome, "sales"))
    order = outcome if isinstance(outcome, pb.Order) else outcome.to_wire()
    return rpc.BatchCreateOrdersResult(order=order)
