"""Lists in pages by key: stable under inserts, as fast on the last page as on the first."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, Select, tuple_

from common.errors import InvalidRequest

DEFAULT_SIZE = 50
LARGEST_SIZE = 200


@dataclass(frozen=True)
class Page:
    """Which part of a list is asked for."""

    size: int
    after: tuple[str, ...] | None

    @classmethod
    def from_wire(cls, request: Any) -> "Page":
        """Read `page_size` and `page_token` of a list request.

        Raises:
            InvalidRequest: the token is not one that this list gave out.
        """
        size = min(request.page_size or DEFAULT_SIZE, LARGEST_SIZE)
        return cls(size, _decode(request.page_token) if request.page_token else None)

    def of(self, statement: Select[Any], *keys: ColumnElement[Any]) -> Select[Any]:
        """The statement for this page, with one row more, which tells whether it is the last.

        The keys order it; they must be unique together, be selected, and be UUID or text.
        """
        if self.after is not None:
            statement = statement.where(tuple_(*keys) > tuple_(*self._values(keys)))
        return statement.order_by(*keys).limit(self.size + 1)

    def cut(self, rows: Sequence[Row[Any]], *names: str) -> tuple[Sequence[Row[Any]], str]:
        """The page's rows and the token of the next page, empty at the end.

        `names` are the names that the keys have in the rows.
        """
        if len(rows) <= self.size:
            return rows, ""
        kept = rows[: self.size]
        return kept, _encode(tuple(str(getattr(kept[-1], name)) for name in names))

    def _values(self, keys: Sequence[ColumnElement[Any]]) -> list[Any]:
        if self.after is None or len(self.after) != len(keys):
            raise _bad_token()
        try:
            return [
                _typed(text, key.type.python_type)
                for text, key in zip(self.after, keys, strict=True)
            ]
        except ValueError:
            raise _bad_token() from None


def _typed(text: str, kind: type) -> object:
    return UUID(text) if kind is UUID else kind(text)


def _encode(keys: tuple[str, ...]) -> str:
    return base64.urlsafe_b64encode("\x1f".join(keys).encode()).decode().rstrip("=")


def _decode(token: str) -> tuple[str, ...]:
    try:
        text = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)).decode()
    except ValueError:
        raise _bad_token() from None
    if "\x00" in text:
        raise _bad_token()
    return tuple(text.split("\x1f"))


def _bad_token() -> InvalidRequest:
    return InvalidRequest.of("/page_token", "is not a token that this list gave out")
