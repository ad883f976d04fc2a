"""Moments as text: RFC 3339 in UTC."""

import re
from datetime import UTC, datetime, timedelta

from google.protobuf.timestamp_pb2 import Timestamp

from common.errors import InvalidRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHAPE = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)


def write_timestamp(message: Timestamp) -> str:
    """The moment with a Z at the end, and with a fraction of a second only where it has one."""
    text = (_EPOCH + timedelta(seconds=message.seconds)).isoformat()[:-6]
    nanos = message.nanos
    if not nanos:
        return text + "Z"
    return f"{text}.{nanos // 1000:06d}Z" if nanos % 1000 == 0 else f"{text}.{nanos:09d}Z"


def read_timestamp(value: object) -> dict[str, int]:
    """The fields of a Timestamp from RFC 3339 text with any offset.

    Raises:
        InvalidRequest: it is no such text, or no such moment.
    """
    match = _SHAPE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _not_a_moment()
    date, time, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(
            f"{date}T{time}{'+00:00' if offset in 'Zz' else offset}"
        ).astimezone(UTC)
    except (ValueError, OverflowError):
        raise _not_a_moment() from None
    seconds = (moment - _EPOCH) // timedelta(seconds=1)
    return {"seconds": seconds, "nanos": int((fraction or "").ljust(9, "0"))}


def _not_a_moment() -> InvalidRequest:
    return InvalidRequest.of("", "must be a time as RFC 3339, such as 2026-03-31T12:00:00Z")
