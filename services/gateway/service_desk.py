"""What every service serves of its own, asked of all of them for the caller's tenant."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from google.protobuf.message import Message

from common import caller
from common.caller import acting_as, service_caller
from common.errors import DomainError, NotFound, StatusCode
from common.listing import declared, orders_of
from common.pagination import Page

__all__ = ["ServiceDesk"]

Answer = TypeVar("Answer", bound=Message)


class ServiceDesk:
    """Asks services side by side, on the gateway's own account. An rpc is known by its request.

    Args:
        services: the same gRPC service of each by name, in the order of the answers.
    """

    def __init__(self, services: Mapping[str, Any]) -> None:
        self._services = services

    @property
    def names(self) -> Sequence[str]:
        """Whom it asks."""
        return list(self._services)

    async def page(
        self, asked: Any, wanted: Any, answer: type[Answer], service: str = ""
    ) -> Answer:
        """A page of what all services (or one) list by id, the newest first unless asked otherwise.

        Each gives as many as the page has room for, of what its filter lets through, from the same
        place: so the first of all of them are the page, and the last of these is the next place.

        Args:
            asked: the request to the gateway.
            wanted: an empty request to the services, which takes over the fields that both have.
            answer: what the gateway answers with.
            service: whose; all when empty.

        Raises:
            InvalidRequest: the token, the filter or the order is wrong.
            Unavailable: a service is away; a page never leaves out what belongs on it.
        """
        page = Page.from_wire(asked)
        orders = orders_of(page.order_by, declared(asked.DESCRIPTOR).order_by)
        _take_over(wanted, asked)
        wanted.limit = page.size + 1
        wanted.after_id = page.after[0] if page.after else ""
        found = await self.all_of(wanted, service)
        descending = orders[-1][1] if orders else True
        ordered = sorted(found, key=lambda record: UUID(record.id), reverse=descending)
        records, token = page.cut(ordered, "id")
        return answer(**{_list_in(answer.DESCRIPTOR): records, "next_page_token": token})

    async def all_of(self, request: Message, service: str = "") -> list[Any]:
        """The records that the services list, one after another."""
        names = [service] if service else self.names
        answers = await asyncio.gather(*(self.call(name, request) for name in names))
        return [
            record for answer in answers for record in getattr(answer, _list_in(answer.DESCRIPTOR))
        ]

    async def find(self, kind: str, request: Any) -> Any:
        """What the one service answers that has the record.

        Raises:
            NotFound: none has.
        """
        asked = (self._or_none(name, request) for name in self._services)
        answers = await asyncio.gather(*asked)
        found = next((answer for answer in answers if answer is not None), None)
        if found is None:
            raise NotFound(kind, request.id)
        return found

    async def call(self, service: str, request: Message) -> Any:
        """What one service answers to the gateway."""
        rpc = request.DESCRIPTOR.name.removesuffix("Request")
        who = caller.current()
        with acting_as(service_caller("gateway", who.tenant_id, who.request_id)):
            return await getattr(self._services[service], rpc)(request)

    async def _or_none(self, service: str, request: Message) -> Any:
        try:
            return await self.call(service, request)
        except DomainError as error:
            if error.status is not StatusCode.NOT_FOUND:
                raise
            return None


def _take_over(wanted: Any, asked: Message) -> None:
    for field, value in asked.ListFields():
        if field.name in wanted.DESCRIPTOR.fields_by_name:
            if field.message_type:
                getattr(wanted, field.name).CopyFrom(value)
            else:
                setattr(wanted, field.name, value)


def _list_in(answer: Any) -> str:
    """The field with the records of a list's answer: its first."""
    name: str = answer.fields[0].name
    return name
