"""What the generated operations stand on: one request, and a list that is read to its end."""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

__all__ = ["Options", "Requests", "segment"]


@dataclass(frozen=True)
class Options:
    """How a request is to be treated, beside what it says.

    Attributes:
        wait_seconds: wait for the follow-up work of a command, up to 30 seconds.
        idempotency_key: the name under which a command has effect once; one is made up for each
            call when there is none.
        if_match: the ETag that the record must still have.
        validate_only: check everything, change nothing.
    """

    wait_seconds: int | None = None
    idempotency_key: str | None = None
    if_match: str | None = None
    validate_only: bool = False


class Requests:
    """Sends requests; `client.Client` says how."""

    async def request(
        self,
        verb: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        options: Options | None = None,
    ) -> Any:
        """The JSON of a successful answer; None when it has no body.

        Raises:
            Problem: the answer is no success.
            Unreachable: none came.
        """
        raise NotImplementedError

    async def iterate(
        self, read: Callable[..., Any], plural: str, options: Options | None, query: Any
    ) -> AsyncIterator[Any]:
        """Every item of a list, page after page."""
        query = dict(cast("dict[str, Any]", query))
        while True:
            page = await read(options, **query)
            for item in page[plural]:
                yield item
            if not page["next_page_token"]:
                return
            query["page_token"] = page["next_page_token"]


def segment(text: str) -> str:
    """A value as part of a path, whatever is in it."""
    return quote(text, safe="")
