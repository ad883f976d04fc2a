import string

import orjson
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from google.rpc.status_pb2 import Status
from hypothesis import given, settings
from hypothesis import strategies as st

from common.errors import DomainError, InvalidRequest
from common.status import to_status
from erp.gateway.v1.tenant_pb2 import Tenant
from erp.inventory.v1 import inventory_pb2
from erp.sales.v1 import sales_pb2, sales_service_pb2
from gateway.contract import all_services
from gateway.fields import RANGES, kind_of
from gateway.json_input import read_json, reader_for, refuse_repeated_names
from gateway.json_output import writer_for
from gateway.routes import Routes

ORDER = sales_service_pb2.CreateOrderRequest.DESCRIPTOR
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
MOMENT = st.integers(-62135596800, 253402300799).map(lambda seconds: {"seconds": seconds})


def messages_of_the_contract() -> list[Descriptor]:
    """Every request, and every answer that a client could send back."""
    methods = [route.method for route in Routes(all_services()).all]
    found = {m.full_name: m for method in methods for m in (method.input_type, method.output_type)}
    found.pop("erp.sales.v1.BatchCreateOrdersResponse")
    # Its events are written as CloudEvents, which nobody sends back.
    found.pop("erp.gateway.v1.ListEventsResponse")
    return list(found.values())


def values(message: Descriptor) -> st.SearchStrategy:
    """Constructor arguments of a message."""
    if message.full_name == "google.protobuf.Timestamp":
        return MOMENT
    if message.full_name == "google.protobuf.FieldMask":
        paths = st.text(string.ascii_lowercase + "_", min_size=1)
        return st.lists(paths, max_size=3).map(lambda paths: {"paths": paths})
    return st.fixed_dictionaries({}, optional={f.name: field_values(f) for f in message.fields})


def field_values(field: FieldDescriptor) -> st.SearchStrategy:
    one = value(field)
    return st.lists(one, max_size=3) if field.is_repeated else one


def value(field: FieldDescriptor) -> st.SearchStrategy:
    match kind_of(field):
        case "string":
            return TEXT
        case "bool":
            return st.booleans()
        case "enum":
            return st.sampled_from([item.number for item in field.enum_type.values])
        case "message":
            return values(field.message_type)
        case kind:
            return st.integers(*RANGES[kind])


@pytest.mark.parametrize("message", messages_of_the_contract(), ids=lambda m: m.full_name)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_what_is_written_as_json_is_read_back_as_the_same_message(message, data):
    original = GetMessageClass(message)(**data.draw(values(message)))

    body = orjson.dumps(writer_for(message)(original))
    again = read_json(body)
    fields = reader_for(message)(again)
    refuse_repeated_names(body, again)

    assert GetMessageClass(message)(**fields) == original


def problems(body: str, message: Descriptor = ORDER) -> list[tuple[str, str]]:
    with pytest.raises(InvalidRequest) as error:
        read(body.encode(), message)
    return [(item.pointer, item.rule) for item in error.value.violations]


def read(body: bytes, message: Descriptor = ORDER) -> object:
    again = read_json(body)
    fields = reader_for(message)(again)
    refuse_repeated_names(body, again)
    return GetMessageClass(message)(**fields)


def test_all_problems_of_a_body_are_named_by_pointer():
    body = """{"customer_id": 5, "confirm": "yes", "backorder": "ALLOW", "nonsense": null,
               "lines": [{"quantity": 3}, "line", {"unit_price": {"amount": 1.5, "c/o~": ""}}]}"""

    assert problems(body) == [
        ("/customer_id", "must be a string"),
        ("/confirm", "must be true or false"),
        ("/backorder", "must be one of allow, forbid"),
        ("/nonsense", "is not a field that is known here"),
        ("/lines/0/quantity", "must be a string"),
        ("/lines/1", "must be an object"),
        ("/lines/2/unit_price/amount", "must be a string"),
        ("/lines/2/unit_price/c~1o~0", "is not a field that is known here"),
    ]


CONFIRM = sales_service_pb2.ConfirmOrderRequest.DESCRIPTOR


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ("", None),
        ("{}", None),
        ('{"version": null}', None),
        ('{"version": 9223372036854775807}', None),
        ('{"version": 9223372036854775808}', "/version"),
        ('{"version": 99999999999999999999999999}', "/version"),
        ('{"version": 1e999}', ""),
        ('{"version": 1.0}', "/version"),
        ('{"version": true}', "/version"),
        ('{"version": "1"}', "/version"),
        ('{"version": NaN}', ""),
        ('{"version": [1]}', "/version"),
        ('{"version": 1, "version": 2}', ""),
        ('{"id": "a:b", "version": 1}', None),
        ('{"id": "a\\u0000b"}', "/id"),
        ('{"id": "\\ud800"}', ""),
        ('{"id": {"id": {}}}', "/id"),
        ("[]", ""),
        ("null", ""),
        ('"text"', ""),
        ("{", ""),
        ('{"id": "x"} {}', ""),
        ("[" * 2000, ""),
        ('{"id":' + "[" * 500 + "]" * 500 + "}", "/id"),
        ('{"id":' * 1500 + "1" + "}" * 1500, ""),
    ],
)
def test_nonsense_is_refused_where_it_stands(body, pointer):
    if pointer is None:
        read(body.encode(), CONFIRM)
        return

    assert [where for where, _ in problems(body, CONFIRM)] == [pointer]


@pytest.mark.parametrize("body", [b'{"id": "\xff"}', b"\xff", b"\xef\xbb\xbf{}", b"{}\0"])
def test_bytes_that_are_no_utf8_json_are_refused(body):
    with pytest.raises(InvalidRequest):
        read(body, CONFIRM)


def test_a_list_longer_than_the_contract_allows_is_refused_unread():
    assert problems(orjson.dumps({"lines": [1] * 101}).decode()) == [
        ("/lines", "must contain no more than 100 items")
    ]


def test_endless_problems_end_after_a_hundred():
    body = orjson.dumps({f"field{index}": 1 for index in range(10_000)}).decode()

    assert len(problems(body)) == 100


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-03-31T12:00:00Z", "2026-03-31T12:00:00Z"),
        ("2026-03-31t12:00:00.5+02:00", "2026-03-31T10:00:00.500000Z"),
        ("2026-03-31T12:00:00.123456789Z", "2026-03-31T12:00:00.123456789Z"),
        ("1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z"),
        ("2026-03-31", None),
        ("2026-02-30T12:00:00Z", None),
        ("2026-03-31T12:00:00", None),
        ("2026-03-31T24:00:00Z", None),
        ("0001-01-01T00:00:00+23:59", None),
        (1774958400, None),
    ],
)
def test_times_are_rfc_3339_and_come_back_in_utc(text, written):
    body = orjson.dumps({"create_time": text})
    if written is None:
        assert [where for where, _ in problems(body.decode(), Tenant.DESCRIPTOR)] == [
            "/create_time"
        ]
    else:
        tenant = read(body, Tenant.DESCRIPTOR)
        assert writer_for(Tenant.DESCRIPTOR)(tenant)["create_time"] == written


def test_an_answer_names_every_scalar_and_leaves_unset_objects_out():
    line = sales_pb2.OrderLine(quantity="3")

    written = writer_for(sales_pb2.OrderLine.DESCRIPTOR)(line)

    assert written["quantity"] == "3"
    assert written["sku"] == ""
    assert "net" not in written
    order = writer_for(sales_pb2.Order.DESCRIPTOR)(sales_pb2.Order(state="ORDER_STATE_DRAFT"))
    assert order["state"] == "draft"
    assert order["lines"] == []
    assert order["version"] == 0


def test_a_time_that_has_not_come_is_null():
    lasting = inventory_pb2.Reservation(state="RESERVATION_STATE_HELD")

    assert writer_for(inventory_pb2.Reservation.DESCRIPTOR)(lasting)["expire_time"] is None


def test_the_error_of_one_row_is_a_problem_beside_the_orders_of_others():
    class OutOfPaper(DomainError):
        detail = "There is no paper."

    status: Status = to_status(OutOfPaper(), "sales")
    results = [
        sales_service_pb2.BatchCreateOrdersResult(order=sales_pb2.Order(id="1")),
        sales_service_pb2.BatchCreateOrdersResult(error=status),
    ]
    message = sales_service_pb2.BatchCreateOrdersResponse(results=results)

    written = writer_for(message.DESCRIPTOR)(message)["results"]

    assert list(written[0]) == ["order"]
    assert written[0]["order"]["id"] == "1"
    assert written[1] == {
        "error": {
            "type": "about:blank",
            "title": "Conflict",
            "status": 409,
            "detail": "There is no paper.",
            "reason": "OUT_OF_PAPER",
        }
    }
