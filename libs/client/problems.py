"""What goes wrong with a request, as exceptions that carry the values of the answer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import httpx

__all__ = ["Problem", "Unreachable"]


class Unreachable(Exception):
    """No answer came, however often it was asked; a command may have had its effect."""


@dataclass(eq=False)
class Problem(Exception):
    """An answer that is no success (RFC 9457).

    Attributes:
        status: the HTTP status.
        reason: for programs, such as "INSUFFICIENT_STOCK".
        detail: for people.
        values: everything that the answer says, such as `sku` and `available`, or `errors`.
        request_id: names the request in the server's logs.
    """

    status: int
    reason: str
    detail: str
    values: Mapping[str, Any]
    request_id: str

    def __str__(self) -> str:
        errors = "; ".join(
            f"{one.get('pointer') or 'the request'} {one.get('detail')}"
            for one in self.values.get("errors", ())
        )
        # Of a single error the detail says as much already.
        more = f" ({errors})" if errors and errors != self.detail else ""
        return f"{self.status} {self.reason}: {self.detail}{more}"

    @classmethod
    def of(cls, answer: httpx.Response) -> Self:
        """What an answer says; whoever stands between may have answered in another form."""
        try:
            said = answer.json()
        except ValueError:
            said = None
        values = said if isinstance(said, dict) else {}
        return cls(
            answer.status_code,
            str(values.get("reason", "")),
            str(values.get("detail", answer.reason_phrase)),
            values,
            answer.headers.get("x-request-id", ""),
        )
