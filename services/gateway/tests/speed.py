"""What the parts of a REST request cost in CPU: `python services/gateway/tests/speed.py`."""

import sys
import timeit
from collections.abc import Callable

import orjson

from erp.sales.v1 import sales_pb2, sales_service_pb2
from erp.types.v1.money_pb2 import Money
from gateway.contract import all_services
from gateway.json_input import read_json, reader_for, refuse_repeated_names
from gateway.json_output import writer_for
from gateway.query import read_query
from gateway.routes import Routes

ID = "01890000-0000-7000-8000-000000000000"
PRICE = Money(currency_code="EUR", amount="12.50")
LINE = {"product_id": ID, "quantity": "3", "unit_price": {"currency_code": "EUR", "amount": "1.5"}}
BODY = orjson.dumps({"customer_id": ID, "warehouse_id": ID, "lines": [LINE] * 3})


def order() -> sales_pb2.Order:
    line = sales_pb2.OrderLine(
        id=ID, sku="OAK", quantity="3", unit_price=PRICE, net=PRICE, tax=PRICE, gross=PRICE
    )
    made = sales_pb2.Order(id=ID, lines=[line] * 3, net=PRICE, tax=PRICE, gross=PRICE)
    for moment in (made.create_time, made.update_time, made.confirm_time):
        moment.GetCurrentTime()
    return made


def read() -> bytes:
    message = sales_service_pb2.CreateOrderRequest
    value = read_json(BODY)
    fields = reader_for(message.DESCRIPTOR)(value)
    refuse_repeated_names(BODY, value)
    return message(**fields).SerializeToString()


def measure(what: str, action: Callable[[], object], count: int = 5000) -> None:
    seconds = min(timeit.repeat(action, number=count, repeat=5)) / count
    sys.stdout.write(f"{seconds * 1e6:7.2f} µs  {what}\n")


def main() -> None:
    routes, answer = Routes(all_services()), order()
    raw, write = answer.SerializeToString(), writer_for(sales_pb2.Order.DESCRIPTOR)
    listing = sales_service_pb2.ListOrdersRequest.DESCRIPTOR
    query = f"page_size=20&customer_id={ID}&state=draft".encode()
    measure("body of an order with 3 lines to bytes for gRPC", read)
    measure(
        "bytes from gRPC of an order with 3 lines to a JSON body",
        lambda: orjson.dumps(write(sales_pb2.Order.FromString(raw))),
    )
    measure("three query parameters", lambda: read_query(listing, query))
    measure("route of a custom verb", lambda: routes.find(f"/api/v1/orders/{ID}:confirm"))


if __name__ == "__main__":
    main()
