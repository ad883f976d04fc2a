"""The jobs of all services as one list, and which service an id belongs to."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from google.protobuf.message import Message

from common import caller, ids
from common.caller import acting_as, service_caller
from common.errors import DomainError, NotFound, StatusCode
from common.pagination import Page

__all__ = ["JobDesk"]


class JobDesk:
    """Asks every service about its jobs, for the caller's tenant.

    Args:
        services: erp.jobs.v1.JobService of each service by name, in the order of the answers.
    """

    def __init__(self, services: Mapping[str, Any]) -> None:
        self._services = services

    async def page(
        self, rpc: str, service: str, wanted: Any, page: Page
    ) -> tuple[Sequence[Any], str]:
        """A page of what all services (or one) list, newest first, and the next page's token.

        Args:
            rpc: what lists it.
            service: whose; all when empty.
            wanted: its request, without limit and place.
            page: which part.
        """
        wanted.limit = page.size + 1
        wanted.before_id = str(_id_of(page)) if page.after else ""
        found = await self.all_of(rpc, wanted, service)
        newest = sorted(found, key=lambda record: UUID(record.id), reverse=True)
        return page.cut(newest, "id")

    async def all_of(self, rpc: str, request: Message, service: str = "") -> list[Any]:
        """What the services answer with, one after another."""
        names = [service] if service else list(self._services)
        answers = await asyncio.gather(*(self.call(name, rpc, request) for name in names))
        return [record for answer in answers for record in _records(answer)]

    async def find(self, kind: str, rpc: str, request: Any) -> Any:
        """What the one service answers that has the record.

        Raises:
            NotFound: none has.
        """
        asked = (self._or_none(name, rpc, request) for name in self._services)
        answers = await asyncio.gather(*asked)
        found = next((answer for answer in answers if answer is not None), None)
        if found is None:
            raise NotFound(kind, request.id)
        return found

    async def call(self, service: str, rpc: str, request: Message) -> Any:
        """What one service answers to the gateway, which asks for the caller's tenant."""
        who = caller.current()
        with acting_as(service_caller("gateway", who.tenant_id, who.request_id)):
            return await getattr(self._services[service], rpc)(request)

    async def _or_none(self, service: str, rpc: str, request: Message) -> Any:
        try:
            return await self.call(service, rpc, request)
        except DomainError as error:
            if error.status is not StatusCode.NOT_FOUND:
                raise
            return None


def _records(answer: Message) -> Sequence[Any]:
    """The records of a list's answer: its only field."""
    records: Sequence[Any] = getattr(answer, answer.DESCRIPTOR.fields[0].name)
    return records


def _id_of(page: Page) -> UUID:
    (text,) = page.after or ("",)
    return ids.parse(text, "page_token")
