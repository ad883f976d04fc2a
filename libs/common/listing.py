"""Lists that can be filtered and ordered: by the fields that their request declares."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message
from sqlalchemy import (
    ColumnElement,
    Row,
    Select,
    and_,
    func,
    literal,
    literal_column,
    not_,
    or_,
    tuple_,
)

from common import filters
from common.comparisons import Amount, Field, TimeOfId, compare
from common.errors import InvalidRequest
from common.filters import All, Comparison, Either, Filter, Not
from common.pagination import Page
from common.transaction import Transaction
from common.wire import enum_words
from erp.options.v1 import options_pb2

__all__ = ["Amount", "Listing", "TimeOfId", "declared", "listed_field", "orders_of"]

MOST_ORDERS = 5
# The generated stub of an extension is less than the type checker wants to know.
_LIST: Any = options_pb2.list
_ORDER = re.compile(r"\s*([A-Za-z_][\w.]*)(?:\s+(asc|desc))?\s*", re.ASCII)
_MOMENTS = {
    "create_time": "created_at",
    "update_time": "updated_at",
    "expire_time": "expires_at",
    "confirm_time": "confirmed_at",
    "post_time": "posted_at",
}
# Before everything else, for what has no value. Not a parameter, so that an index can hold it.
_FIRST = {"str": "''", "datetime": "'0001-01-01T00:00:00Z'::timestamptz"}

_SORT = "sort_"
_Stored = ColumnElement[Any] | Amount | TimeOfId


class _Sort(NamedTuple):
    column: ColumnElement[Any]
    descending: bool


class Listing:
    """One list: where its fields are stored, and what orders it when nothing else is asked for.

    A field is stored under its own name, a time such as `create_time` as `created_at`, money such
    as `gross.amount` as `gross_minor` with its currency beside it; only others need be said.

    Args:
        request: the request of its rpc; the option (erp.options.v1.list) names the fields.
        columns: the columns of the table that is listed.
        key: the names of the columns that are unique together and order it.
        newest_first: whether it begins at the end of that order.
        others: the columns of fields that are stored elsewhere.

    Raises:
        KeyError: a field is declared and not stored, or the record has no such field.
    """

    def __init__(
        self,
        request: type[Message],
        columns: Any,
        *key: str,
        newest_first: bool = False,
        others: Mapping[str, _Stored] | None = None,
    ) -> None:
        descriptor: Any = request.DESCRIPTOR
        options, elsewhere = declared(descriptor), others or {}
        stored = {
            name: elsewhere[name] if name in elsewhere else _stored(columns, name)
            for name in {*options.filter, *options.order_by}
        }
        self.request: str = descriptor.full_name
        self.orders: Sequence[str] = options.order_by
        self.fields = {name: _field(descriptor, name, stored[name]) for name in options.filter}
        self._orders = {name: _sortable(stored[name]) for name in options.order_by}
        self._key = [columns[name] for name in key]
        self._newest_first = newest_first
        self.table: Any = self._key[0].table

    async def read(
        self, tx: Transaction, statement: Select[Any], page: Page
    ) -> tuple[Sequence[Row[Any]], str]:
        """The page's rows and the token of the next page, empty at the end.

        The rows hold what the statement selects, and after that what they are ordered by.

        Raises:
            InvalidRequest: filter, order or token are wrong.
        """
        return self.cut(await tx.rows(self.limited(statement, page)), page)

    def cut(self, rows: Sequence[Row[Any]], page: Page) -> tuple[Sequence[Row[Any]], str]:
        """What `read` gives, of the rows of a `limited` statement."""
        places = range(len(self._sorts(page.order_by)))
        return page.cut(rows, *(f"{_SORT}{place}" for place in places))

    def limited(self, statement: Select[Any], page: Page) -> Select[Any]:
        """The statement with the page's filter and order, and one row more than it has room for.

        Its rows hold what it selects, and after that what they are ordered by.

        Raises:
            InvalidRequest: filter, order or token are wrong.
        """
        sorts = self._sorts(page.order_by)
        if (condition := self.condition(page.filter)) is not None:
            statement = statement.where(condition)
        if page.after is not None:
            statement = statement.where(_after(page, sorts))
        order = [sort.column.desc() if sort.descending else sort.column for sort in sorts]
        columns = [sort.column.label(f"{_SORT}{place}") for place, sort in enumerate(sorts)]
        return statement.order_by(*order).limit(page.size + 1).add_columns(*columns)

    def sorted_by(self, order_by: str) -> list[ColumnElement[Any]]:
        """The columns that make an order, as written, a total one.

        Raises:
            InvalidRequest: it is none.
        """
        return [sort.column for sort in self._sorts(order_by)]

    def condition(self, text: str) -> ColumnElement[bool] | None:
        """What a filter demands of a row; None when that is nothing.

        Raises:
            InvalidRequest: it is wrong, or names a field that is not declared.
        """
        parsed = filters.parse(text)
        return None if parsed is None else self._compiled(parsed)

    def _compiled(self, parsed: Filter) -> ColumnElement[bool]:
        match parsed:
            case Not(term):
                return not_(self._compiled(term))
            case All(terms):
                return and_(*map(self._compiled, terms))
            case Either(terms):
                return or_(*map(self._compiled, terms))
            case Comparison():
                return compare(self._known(parsed.field), parsed)

    def _known(self, name: str) -> Field:
        if name not in self.fields:
            known = ", ".join(self.fields)
            raise InvalidRequest.of("/filter", f"must not name {name[:50]}, only {known}")
        return self.fields[name]

    def is_descending(self, order_by: str) -> bool:
        """Whether rows that are equal in all that an order names come from the last to the first.

        Raises:
            InvalidRequest: it is none.
        """
        return self._sorts(order_by)[-1].descending

    def _sorts(self, order_by: str) -> list[_Sort]:
        asked = [
            _Sort(self._orders[name], descending)
            for name, descending in orders_of(order_by, self.orders)
        ]
        # In the direction of the field before them, so that an index can be read one way.
        descending = asked[-1].descending if asked else self._newest_first
        named = {id(sort.column) for sort in asked}
        return asked + [_Sort(key, descending) for key in self._key if id(key) not in named]


def orders_of(order_by: str, known: Collection[str]) -> list[tuple[str, bool]]:
    """The fields that an order names, and of each whether it is descending.

    Raises:
        InvalidRequest: it is no order, or names others than those that are known.
    """
    asked = [_order(part, known) for part in order_by.split(",")] if order_by.strip() else []
    if len(asked) > MOST_ORDERS or len({name for name, _ in asked}) < len(asked):
        rule = f"must name at most {MOST_ORDERS} fields, and none twice"
        raise InvalidRequest.of("/order_by", rule)
    return asked


def _order(part: str, known: Collection[str]) -> tuple[str, bool]:
    match = _ORDER.fullmatch(part)
    if match is None or match[1] not in known:
        names = ", ".join(known)
        rule = f"must be fields with commas, each as `name` or `name desc`, out of {names}"
        raise InvalidRequest.of("/order_by", rule)
    return match[1], match[2] == "desc"


def declared(request: Descriptor) -> options_pb2.ListOptions:
    """Which fields a list can be filtered and ordered by."""
    options: options_pb2.ListOptions = request.GetOptions().Extensions[_LIST]
    return options


def listed_field(request: Descriptor, name: str) -> FieldDescriptor:
    """The field of the listed record that a path such as "gross.amount" names.

    Raises:
        KeyError: there is none.
    """
    answer = request.name.removesuffix("Request") + "Response"
    response = request.file.message_types_by_name[answer]
    message = next(field.message_type for field in response.fields if field.is_repeated)
    *outer, last = name.split(".")
    for step in outer:
        message = _inner(message, step)
    assert message is not None
    return message.fields_by_name[last]


def _inner(message: Descriptor | None, name: str) -> Descriptor | None:
    assert message is not None
    return message.fields_by_name[name].message_type


def _stored(columns: Mapping[str, ColumnElement[Any]], name: str) -> _Stored:
    if name.endswith(".amount"):
        amount = name.removesuffix(".amount")
        of_row = next(
            code for code in ("currency", "currency_code", f"{amount}_currency") if code in columns
        )
        return Amount(columns[f"{amount}_minor"], columns[of_row])
    return columns[_MOMENTS.get(name, name)]


def _field(request: Descriptor, name: str, column: _Stored) -> Field:
    enum: EnumDescriptor | None = listed_field(request, name).enum_type
    return Field(column, enum_words(enum) if enum else ())


def _sortable(column: _Stored) -> ColumnElement[Any]:
    if isinstance(column, Amount):
        return column.minor
    if isinstance(column, TimeOfId):
        return column.id
    if not getattr(column, "nullable", False):
        return column
    first = _FIRST[column.type.python_type.__name__]
    return func.coalesce(column, literal_column(first, column.type))


def _after(page: Page, sorts: Sequence[_Sort]) -> ColumnElement[bool]:
    """The rows behind the one that the page's token names."""
    columns = [sort.column for sort in sorts]
    last = [
        literal(value, column.type)
        for value, column in zip(page.values_after(columns), columns, strict=True)
    ]
    if len({sort.descending for sort in sorts}) == 1:
        ours, theirs = tuple_(*columns), tuple_(*last)
        return ours < theirs if sorts[0].descending else ours > theirs
    # Equal in all that comes before, and behind in the next: no row value can say that.
    return or_(
        *(
            and_(
                *(columns[before] == last[before] for before in range(place)),
                columns[place] < last[place] if sort.descending else columns[place] > last[place],
            )
            for place, sort in enumerate(sorts)
        )
    )
