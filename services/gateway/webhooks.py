"""Webhooks: where a company wants its events to be sent."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, delete, select, text

from common import caller, ids
from common.caller import Caller
from common.database import Transaction
from common.errors import BrokenRule, InvalidField, InvalidRequest, NotFound, NotPermitted
from common.listening import ALL_EVENTS
from common.listing import Listing
from common.optimistic import update_version
from common.pagination import Page
from common.wire import timestamp
from erp.gateway.v1 import webhook_pb2 as pb
from erp.gateway.v1 import webhook_service_pb2 as api
from gateway import webhook_tables as tables
from gateway.cloud_events import known_types
from gateway.event_pages import source_of
from gateway.outside_addresses import AddressRefused, OutsideAddresses
from gateway.webhook_secrets import Secrets

__all__ = ["ENABLED", "NewWebhook", "Webhooks", "change_of", "disable"]

ENABLED, DISABLED = "enabled", "disabled"
OLD_SECRET_TIME = timedelta(days=1)
_MOST = 50
_KIND = "webhook"
_webhooks = tables.webhooks
_LIST = Listing(api.ListWebhooksRequest, _webhooks.c, "id")

# From where on a tenant's events are followed; whoever follows already goes on where it is.
_FOLLOW = text("""
    INSERT INTO subscriptions (tenant_id, listener, source, position)
    SELECT :tenant_id, :listener, source, position
    FROM unnest(CAST(:sources AS text[]), CAST(:positions AS bigint[])) AS head (source, position)
    ON CONFLICT DO NOTHING
""")


@dataclass(eq=False)
class TooManyWebhooks(BrokenRule):
    """The company has as many webhooks as it may."""

    detail = "There are {most} webhooks already."

    most: int


@dataclass(frozen=True)
class NewWebhook:
    """A webhook to make."""

    url: str
    description: str
    types: tuple[str, ...]


class Webhooks:
    """The rules for webhooks of the caller's tenant.

    Args:
        addresses: where events may be sent.
        secrets: makes and seals secrets.
    """

    def __init__(self, addresses: OutsideAddresses, secrets: Secrets) -> None:
        self._addresses = addresses
        self._secrets = secrets

    async def create(
        self, tx: Transaction, new: NewWebhook, heads: Mapping[str, int]
    ) -> pb.Webhook:
        """Make a webhook, with its secret in the result and nowhere else.

        Args:
            tx: the transaction to join.
            new: the webhook.
            heads: how far each service's events go: those after that are sent.

        Raises:
            InvalidRequest: nothing may be sent there, or there is no such event.
            NotPermitted: the caller may not read the events.
            TooManyWebhooks: there are enough.
        """
        self.check(url=new.url, types=new.types)
        known = await tx.rows(select(_webhooks.c.id).limit(_MOST))
        if len(known) >= _MOST:
            raise TooManyWebhooks(_MOST)
        webhook_id = ids.new()
        shown, stored = self._secrets.make(webhook_id)
        values = {"id": webhook_id, **vars(new), "types": list(new.types), "secret": stored}
        row = await tx.row(_webhooks.insert().values(values).returning(_webhooks))
        assert row is not None
        await tx.execute(tables.webhook_health.insert().values(webhook_id=webhook_id))
        following = {"sources": list(heads), "positions": list(heads.values())}
        lane = {"tenant_id": tx.tenant_id, "listener": ALL_EVENTS}
        await tx.execute(_FOLLOW, {**lane, **following})
        return _to_wire(row, secret=shown)

    async def change(
        self, tx: Transaction, webhook_id: UUID, version: int, values: Mapping[str, Any]
    ) -> pb.Webhook:
        """Change the given columns.

        Raises:
            InvalidRequest: nothing may be sent there, or there is no such event.
            NotPermitted: the caller may not read the events.
            NotFound: there is no such webhook.
            ConcurrentModification: it has another version by now.
        """
        self.check(**{name: values[name] for name in ("url", "types") if name in values})
        if values.get("state") == ENABLED:
            values = {**values, "disabled_reason": ""}
            await tx.execute(_healed(webhook_id))
        row = await update_version(tx, _webhooks, _KIND, webhook_id, version, values)
        return _to_wire(row, await _health(tx, webhook_id))

    async def rotate_secret(self, tx: Transaction, webhook_id: UUID) -> pb.Webhook:
        """Give it a new secret; the present one is good for another day.

        Raises:
            NotFound: there is no such webhook.
        """
        known = await _locked(tx, webhook_id)
        shown, stored = self._secrets.make(webhook_id)
        until = datetime.now(UTC) + OLD_SECRET_TIME
        values = {"secret": stored, "old_secret": known.secret, "old_secret_until": until}
        row = await update_version(tx, _webhooks, _KIND, webhook_id, 0, values)
        return _to_wire(row, await _health(tx, webhook_id), secret=shown)

    def check(self, url: str | None = None, types: Collection[str] = ()) -> None:
        """Refuse what no webhook of the caller's may be.

        Raises:
            InvalidRequest: nothing may be sent there, or there is no such event.
            NotPermitted: the caller may not read the events.
        """
        problems = [
            InvalidField(
                f"/types/{place}", "must name an event such as erp.sales.v1.OrderConfirmed"
            )
            for place, kind in enumerate(types)
            if kind not in known_types()
        ]
        if url is not None:
            try:
                self._addresses.check_url(url)
            except AddressRefused as refused:
                problems.append(InvalidField("/url", str(refused)))
        if problems:
            raise InvalidRequest(problems)
        demand_sight(caller.current(), types)


def demand_sight(who: Caller, types: Collection[str]) -> None:
    """Refuse somebody who may not read the events of these types; of all when none is named.

    Raises:
        NotPermitted: they may not.
    """
    sources = {source_of(kind) for kind in types or known_types()}
    for source in sorted(sources):
        if not who.may(f"{source}.events.read"):
            raise NotPermitted(f"{source}.events.read")


async def get(tx: Transaction, webhook_id: UUID) -> pb.Webhook:
    """A webhook.

    Raises:
        NotFound: there is no such webhook.
    """
    row = await tx.row(select(_webhooks).where(_webhooks.c.id == webhook_id))
    if row is None:
        raise NotFound(_KIND, webhook_id)
    return _to_wire(row, await _health(tx, webhook_id))


async def list_all(tx: Transaction, page: Page) -> tuple[list[pb.Webhook], str]:
    """A page of webhooks, oldest first, and what names the next page."""
    rows, next_page = await _LIST.read(tx, select(_webhooks), page)
    health = {row.webhook_id: row for row in await tx.rows(select(tables.webhook_health))}
    return [_to_wire(row, health.get(row.id)) for row in rows], next_page


async def remove(tx: Transaction, webhook_id: UUID) -> pb.Webhook:
    """Remove a webhook and all that was sent to it.

    Raises:
        NotFound: there is no such webhook.
    """
    row = await tx.row(delete(_webhooks).where(_webhooks.c.id == webhook_id).returning(_webhooks))
    if row is None:
        raise NotFound(_KIND, webhook_id)
    return _to_wire(row)


async def disable(tx: Transaction, webhook_id: UUID, reason: str) -> None:
    """Send nothing more to a webhook, until somebody enables it."""
    values = {"state": DISABLED, "disabled_reason": reason}
    await update_version(tx, _webhooks, _KIND, webhook_id, 0, values)


def change_of(request: api.UpdateWebhookRequest) -> dict[str, Any]:
    """The columns that a request changes.

    Raises:
        InvalidRequest: a field that cannot be empty is.
    """
    read: dict[str, Any] = {
        "url": request.url,
        "description": request.description,
        "types": list(request.types),
        "state": {pb.WEBHOOK_STATE_ENABLED: ENABLED, pb.WEBHOOK_STATE_DISABLED: DISABLED}.get(
            request.state
        ),
    }
    values = {name: read[name] for name in request.update_mask.paths}
    for name in ("url", "state"):
        if name in values and not values[name]:
            raise InvalidRequest.of(f"/{name}", "must not be empty")
    return values


async def _locked(tx: Transaction, webhook_id: UUID) -> Row[Any]:
    statement = select(_webhooks).where(_webhooks.c.id == webhook_id).with_for_update()
    row = await tx.row(statement)
    if row is None:
        raise NotFound(_KIND, webhook_id)
    return row


async def _health(tx: Transaction, webhook_id: UUID) -> Row[Any] | None:
    health = tables.webhook_health
    return await tx.row(select(health).where(health.c.webhook_id == webhook_id))


def _healed(webhook_id: UUID) -> Any:
    health = tables.webhook_health
    fresh = {"failures": 0, "failing_since": None, "closed_until": None}
    return health.update().where(health.c.webhook_id == webhook_id).values(fresh)


def _to_wire(row: Row[Any], health: Row[Any] | None = None, secret: str = "") -> pb.Webhook:
    states: Sequence[str] = ("", ENABLED, DISABLED)
    return pb.Webhook(
        id=str(row.id),
        url=row.url,
        description=row.description,
        types=row.types,
        state=pb.WebhookState.Name(states.index(row.state)),
        disabled_reason=row.disabled_reason,
        failing_since=timestamp(health.failing_since) if health else None,
        secret=secret,
        old_secret_until=timestamp(row.old_secret_until),
        version=row.version,
        create_time=timestamp(row.created_at),
        update_time=timestamp(row.updated_at),
    )
