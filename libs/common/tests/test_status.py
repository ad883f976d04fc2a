from dataclasses import dataclass

import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc import StatusCode

from common.errors import BrokenRule, ConcurrentModification, InvalidField, InvalidRequest, NotFound
from common.status import Status, error_from, to_status, unexpected


@dataclass(eq=False)
class TooMuchToSay(BrokenRule):
    detail = "{text}"

    text: str
    more: str


def info_of(status):
    return next(
        ErrorInfo.FromString(detail.value)
        for detail in status.details
        if detail.TypeName() == "google.rpc.ErrorInfo"
    )


def test_reason_domain_and_values_say_what_it_is():
    info = info_of(to_status(NotFound("order", "SO-1"), "sales"))

    assert (info.reason, info.domain) == ("NOT_FOUND", "sales.kv-erp")
    assert dict(info.metadata) == {"kind": "order", "id": "SO-1"}


def test_what_went_wrong_survives_the_journey():
    error = error_from(to_status(ConcurrentModification("order", "SO-1"), "sales"))

    assert error.status is StatusCode.ABORTED
    assert error.reason == "CONCURRENT_MODIFICATION"
    assert str(error) == str(ConcurrentModification("order", "SO-1"))


def test_violations_survive_the_journey():
    sent = InvalidRequest.of("/lines/0/quantity", "must be greater than 0")

    error = error_from(to_status(sent, "sales"))

    (violation,) = error.violations
    assert (violation.pointer, violation.rule) == ("/lines/0/quantity", "must be greater than 0")


def test_twenty_violations_are_enough_to_go_on_with():
    sent = InvalidRequest([InvalidField(f"/lines/{n}", "is wrong") for n in range(30)])

    assert len(error_from(to_status(sent, "sales")).violations) == 20


def test_an_error_that_is_passed_on_stays_as_it_was():
    first = to_status(NotFound("order", "SO-1"), "sales")

    assert to_status(error_from(first), "gateway") == first


@pytest.mark.parametrize(
    "error",
    [
        TooMuchToSay("ж" * 9000, "x" * 9000),
        InvalidRequest([InvalidField("/" + "ä" * 900, "ж" * 900) for _ in range(500)]),
    ],
)
def test_a_status_fits_into_the_metadata_of_an_answer(error):
    status = to_status(error, "sales")

    # 8 KB, less the message that gRPC sends once more and a third for base64.
    assert status.ByteSize() < 5000
    assert status.message.endswith("…")
    assert status.details


def test_a_fault_of_ours_tells_only_where_to_look():
    assert dict(info_of(unexpected("sales", "r-1")).metadata) == {"request_id": "r-1"}


def test_a_status_without_details_is_an_error_all_the_same():
    error = error_from(Status(code=8, message="too many"))

    assert (error.status, error.reason) == (StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED")
    assert (error.values(), error.violations, error.retry_after_seconds) == ({}, [], None)
