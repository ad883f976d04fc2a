"""One comparison of a filter as SQL: what a field's kind allows, and the value as a parameter."""

import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Numeric, Text, and_, any_, case, func, literal, not_
from sqlalchemy.dialects.postgresql import ARRAY

from common import ids
from common.errors import InvalidRequest
from common.filters import Comparison
from common.money import CURRENCIES_BY_DECIMALS

__all__ = ["Amount", "Field", "TimeOfId", "compare"]

_SIGNS: dict[str, Callable[[Any, Any], ColumnElement[bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_SAME = frozenset({"=", "!="})
_ANYTHING = "*"
_DECIMAL = re.compile(r"-?\d{1,24}(?:\.\d{1,12})?", re.ASCII)
_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_LARGEST_INTEGER = 2**63 - 1
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Amount:
    """Money in two columns: in minor units, and the code of its currency."""

    minor: ColumnElement[Any]
    currency: ColumnElement[Any]


@dataclass(frozen=True)
class TimeOfId:
    """A time that is kept in ids (UUIDv7) alone, to the millisecond."""

    id: ColumnElement[Any]


@dataclass(frozen=True)
class Field:
    """What a field of a list stands for."""

    column: ColumnElement[Any] | Amount | TimeOfId
    # The words of its enum; none when it is of no enum.
    words: Collection[str] = ()

    @property
    def is_optional(self) -> bool:
        """Whether it can be without a value: "" in JSON when it is text, else left out."""
        return bool(getattr(self.column, "nullable", False))


def compare(field: Field, asked: Comparison) -> ColumnElement[bool]:
    """The comparison as a condition that is true or false of every row, never unknown.

    Raises:
        InvalidRequest: the field is not compared like that, or not with such a value.
    """
    column = field.column
    if isinstance(column, Amount):
        return _SIGNS[_sign(asked, _SIGNS)](column.minor, _minor(column, _read(asked, Decimal)))
    if isinstance(column, TimeOfId):
        return _made(column, asked)
    if asked.operator == ":" or isinstance(column.type, ARRAY):
        return _has(field, column, asked)
    return _compared(field, column, asked)


def _compared(field: Field, column: ColumnElement[Any], asked: Comparison) -> ColumnElement[bool]:
    kind = column.type.python_type
    sign = _sign(asked, _SAME if field.words or kind in (UUID, bool) else _SIGNS)
    if field.is_optional and kind in (str, UUID) and not asked.value:
        empty = _or_empty(column) == "" if kind is str else column.is_(None)
        return empty if sign == "=" else ~empty
    value = literal(_value(field, kind, asked), column.type)
    if not field.is_optional:
        return _SIGNS[sign](column, value)
    if sign == "!=":
        return column.is_distinct_from(value)
    compared = _SIGNS[sign](_or_empty(column) if kind is str and sign != "=" else column, value)
    return and_(column.is_not(None), compared) if kind is not str or sign == "=" else compared


def _made(column: TimeOfId, asked: Comparison) -> ColumnElement[bool]:
    """The comparison as a range of ids, for which their index serves."""
    sign = _sign(asked, _SIGNS)
    microseconds = (_read(asked, datetime) - _EPOCH) // timedelta(microseconds=1)
    # The least ids of the first milliseconds that are not before the time, and that are after it.
    begin, end = (ids.first_of(-(-each // 1000)) for each in (microseconds, microseconds + 1))
    is_before = {"<": column.id < begin, "<=": column.id < end}
    is_after = {">": column.id >= end, ">=": column.id >= begin}
    within = and_(column.id >= begin, column.id < end)
    return {**is_before, **is_after, "=": within, "!=": not_(within)}[sign]


def _has(field: Field, column: ColumnElement[Any], asked: Comparison) -> ColumnElement[bool]:
    any_value = asked.value == _ANYTHING and not asked.quoted
    if isinstance(column.type, ARRAY):
        _sign(asked, ":")
        if any_value:
            return func.cardinality(column) > 0
        return literal(_text(asked.value), Text()) == any_(column)
    is_text = column.type.python_type is str
    if any_value and (field.is_optional or is_text):
        return _or_empty(column) != "" if is_text else column.is_not(None)
    if not is_text or field.words:
        raise _wrong(asked, "is no text to look into with `:`; compare it with `=`")
    return _or_empty(column).icontains(_text(asked.value), autoescape=True)


def _or_empty(column: ColumnElement[Any]) -> ColumnElement[Any]:
    return func.coalesce(column, "") if getattr(column, "nullable", False) else column


def _sign(asked: Comparison, allowed: Collection[str]) -> str:
    if asked.operator not in allowed:
        signs = " ".join(sign for sign in (*_SIGNS, ":") if sign in allowed)
        raise _wrong(asked, f"can be compared by {signs}, not by {asked.operator}")
    return asked.operator


def _value(field: Field, kind: type, asked: Comparison) -> object:
    if field.words and asked.value not in field.words:
        raise _wrong(asked, f"is one of {', '.join(field.words)}")
    return _read(asked, kind)


def _read(asked: Comparison, kind: type) -> Any:
    rule, read = _READERS[kind]
    try:
        return read(asked.value)
    except (ValueError, OverflowError):
        raise _wrong(asked, f"must be compared with {rule}") from None


def _minor(amount: Amount, value: Decimal) -> ColumnElement[Any]:
    """The value in the minor unit of each row's own currency."""
    unusual = [
        (amount.currency.in_(codes), literal(value.scaleb(decimals), Numeric()))
        for decimals, codes in CURRENCIES_BY_DECIMALS.items()
    ]
    return case(*unusual, else_=literal(value.scaleb(2), Numeric()))


def _text(text: str) -> str:
    # The database has no such character, and so nothing that would hold it.
    return text.replace("\x00", "\ufffd")


def _decimal(text: str) -> Decimal:
    return Decimal(_matching(_DECIMAL, text))


def _integer(text: str) -> int:
    number = _decimal(text)
    if number % 1 or abs(number) > _LARGEST_INTEGER:
        raise ValueError
    return int(number)


def _boolean(text: str) -> bool:
    return {"true": True, "false": False}[_matching(re.compile("true|false"), text)]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(_matching(_MOMENT, text).upper()).astimezone(UTC)


def _day(text: str) -> date:
    return date.fromisoformat(_matching(_DAY, text))


def _matching(shape: re.Pattern[str], text: str) -> str:
    if not shape.fullmatch(text):
        raise ValueError
    return text


# What each kind of column is compared with, and how that is read.
_READERS: Mapping[type, tuple[str, Callable[[str], object]]] = {
    str: ("text", _text),
    UUID: ("a UUID", UUID),
    bool: ("true or false", _boolean),
    int: ("a whole number", _integer),
    Decimal: ("a decimal such as 12.50", _decimal),
    datetime: ("a time as RFC 3339, such as 2026-03-31T12:00:00Z", _moment),
    date: ("a date as YYYY-MM-DD", _day),
}


def _wrong(asked: Comparison, rule: str) -> InvalidRequest:
    return InvalidRequest.of("/filter", f"compares {asked.field}, which {rule}")
