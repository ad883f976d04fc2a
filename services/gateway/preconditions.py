"""Requests that depend on the state of a record (RFC 9110, section 13)."""

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from google.protobuf.message import Message

from common.channel import Rpc
from common.errors import ConcurrentModification, DomainError
from common.repetitions import NotAnsweredBefore
from gateway.errors import PreconditionFailed
from gateway.http_request import HttpRequest
from gateway.representation import Representation
from gateway.routes import Route

__all__ = ["Preconditions", "is_known"]

_ANY = b"*"
_VERSION = re.compile(rb'"(\d{1,18})-[0-9a-f]{24}"')
_WEAK = re.compile(rb"W/(?=\")")


def is_known(etag: bytes, if_none_match: bytes | None) -> bool:
    """Whether the caller says that it has this state of the record already."""
    if if_none_match is None:
        return False
    return if_none_match.strip() == _ANY or etag in _listed(_WEAK.sub(b"", if_none_match))


class Preconditions:
    """Holds requests to their If-Match.

    Args:
        readers: by template, how the record is read that a path names.
        rpcs: by path.
    """

    def __init__(self, readers: Mapping[str, Route], rpcs: Mapping[str, Rpc]) -> None:
        self._readers = readers
        self._rpcs = rpcs

    async def guard(
        self, route: Route, message: Any, request: HttpRequest
    ) -> AbstractContextManager[None]:
        """Check If-Match; what is inside the context then does the work.

        A message that can name the version to change, and does not, is given that of If-Match, so
        that nobody can come in between. Else the record is read and compared beforehand; a request
        under a key that finds it changed may have changed it itself: then it only gets the answer
        that it had the first time.

        Raises:
            PreconditionFailed: the record is in another state, or there cannot be one.
        """
        if_match = request.if_match
        if if_match is None or route.verb == "GET":
            return nullcontext()
        # What a verb answers with may be another kind: crediting an invoice gives a credit note.
        reading = self._readers.get(route.template.partition(":")[0])
        if reading is None:
            raise PreconditionFailed
        if if_match.strip() == _ANY:
            return nullcontext()
        versions = [int(match[1]) for match in _VERSION.finditer(if_match)]
        if len(versions) == 1 and getattr(message, "version", None) == 0:
            message.version = versions[0]
            return _failing_when_changed()
        if await self._etag(reading, message.id) in _listed(if_match):
            return nullcontext()
        if request.idempotency_key is None or request.validate_only:
            raise PreconditionFailed
        request.repeats_only = True
        return _failing_when_changed()

    async def _etag(self, reading: Route, record_id: str) -> bytes:
        request: Message = reading.policy.request(id=record_id)
        record = await self._rpcs[reading.policy.path](request)
        return Representation.of(reading.write(record)).etag


@contextmanager
def _failing_when_changed() -> Iterator[None]:
    try:
        yield
    except DomainError as error:
        if error.reason in (ConcurrentModification.reason, NotAnsweredBefore.reason):
            raise PreconditionFailed from error
        raise


def _listed(etags: bytes) -> list[bytes]:
    return [etag.strip() for etag in etags.split(b",")]
