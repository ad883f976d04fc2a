"""Lists in pages by key: stable under inserts, as fast on the last page as on the first."""

import base64
import hashlib
import hmac
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID

from google.protobuf.message import Message
from sqlalchemy import ColumnElement, Row, Select, tuple_

from common import caller
from common.errors import InvalidRequest

DEFAULT_SIZE = 50
LARGEST_SIZE = 200
_SEAL_BYTES = 12


@dataclass(frozen=True)
class Page:
    """Which part of a list is asked for."""

    size: int
    # The keys of the last row of the page before, as text.
    after: tuple[str, ...] | None
    # What is asked, by whom, whichever the page: a token holds for the same question only.
    question: bytes = b""
    # Both as they were written; a list that knows neither has none.
    filter: str = ""
    order_by: str = ""

    @classmethod
    def from_wire(cls, request: Any) -> "Page":
        """Read `page_size`, `page_token` and, where there are such, `filter` and `order_by`.

        Raises:
            InvalidRequest: the token is not one that this list gave out for the same question.
        """
        size = min(request.page_size or DEFAULT_SIZE, LARGEST_SIZE)
        question = _question(request)
        after = _opened(request.page_token, question) if request.page_token else None
        asked = (getattr(request, name, "") for name in ("filter", "order_by"))
        return cls(size, after, question, *asked)

    @classmethod
    def of_part(cls, request: Any) -> "Page":
        """Read what a service is asked of a list that the gateway puts together of several.

        Its `limit` has room for the one that tells whether more follow, and `after_id` is the
        place, which only the gateway gives out.
        """
        after = (request.after_id,) if request.after_id else None
        return cls(request.limit - 1, after, filter=request.filter, order_by=request.order_by)

    def of(self, statement: Select[Any], *keys: ColumnElement[Any]) -> Select[Any]:
        """The statement for this page, with one row more, which tells whether it is the last.

        The keys order it; they must be unique together, be selected, and hold no NULL.
        """
        if self.after is not None:
            statement = statement.where(tuple_(*keys) > tuple_(*self.values_after(keys)))
        return statement.order_by(*keys).limit(self.size + 1)

    def cut(self, rows: Sequence[Row[Any]], *names: str) -> tuple[Sequence[Row[Any]], str]:
        """The page's rows and the token of the next page, empty at the end.

        `names` are the names that the keys have in the rows.
        """
        if len(rows) <= self.size:
            return rows, ""
        kept = rows[: self.size]
        last = tuple(_text(getattr(kept[-1], name)) for name in names)
        return kept, _sealed(last, self.question)

    def values_after(self, keys: Sequence[ColumnElement[Any]]) -> list[Any]:
        """What the keys are in the last row of the page before.

        Raises:
            InvalidRequest: the token names others.
        """
        if self.after is None or len(self.after) != len(keys):
            raise _bad_token()
        try:
            return [
                _typed(text, key.type.python_type)
                for text, key in zip(self.after, keys, strict=True)
            ]
        except (ValueError, InvalidOperation):
            raise _bad_token() from None


def _question(request: Message) -> bytes:
    same: Any = type(request)()
    same.CopyFrom(request)
    same.ClearField("page_size")
    same.ClearField("page_token")
    who = caller.current_or_none()
    asked = hashlib.blake2b(key=who.tenant_id.bytes if who and who.tenant_id else b"")
    asked.update(request.DESCRIPTOR.full_name.encode())
    asked.update(same.SerializeToString(deterministic=True))
    return asked.digest()


# A seal without a secret: whoever forges one gets to choose where in a list of their own to start,
# which a filter lets them choose as well. It is there so that a token that was cut, changed or put
# to another question is refused rather than answered with the wrong rows.
def _seal(payload: bytes, question: bytes) -> bytes:
    return hashlib.blake2b(payload, key=question, digest_size=_SEAL_BYTES).digest()


def _sealed(keys: tuple[str, ...], question: bytes) -> str:
    payload = json.dumps(keys, ensure_ascii=False, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(_seal(payload, question) + payload).decode().rstrip("=")


def _opened(token: str, question: bytes) -> tuple[str, ...]:
    try:
        opened = base64.b64decode(token + "=" * (-len(token) % 4), b"-_", validate=True)
    except ValueError:
        raise _bad_token() from None
    seal, payload = opened[:_SEAL_BYTES], opened[_SEAL_BYTES:]
    as_written = base64.urlsafe_b64encode(opened).decode().rstrip("=")
    if as_written != token or not hmac.compare_digest(seal, _seal(payload, question)):
        raise _bad_token()
    return tuple(json.loads(payload))


def _text(key: object) -> str:
    return key.isoformat() if isinstance(key, date) else str(key)


def _typed(text: str, kind: type) -> object:
    if "\x00" in text:
        raise ValueError
    if issubclass(kind, date):
        return kind.fromisoformat(text)
    if kind is bool:
        return text == "True"
    return {UUID: UUID, int: int, Decimal: Decimal, datetime: datetime}.get(kind, str)(text)


def _bad_token() -> InvalidRequest:
    rule = "is not a token that this list gave out for the same filter, order and parameters"
    return InvalidRequest.of("/page_token", rule)
