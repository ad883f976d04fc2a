"""Webhooks put together: what serves them, and what sends."""

from functools import partial

from common.database import Database
from common.sealing import Seal
from common.server import Service
from common.settings import Settings
from erp.gateway.v1 import webhook_service_pb2, webhook_service_pb2_grpc
from gateway.event_pages import EventPages
from gateway.outside_addresses import OutsideAddresses
from gateway.outside_http import OutsideHttp
from gateway.webhook_jobs import WebhookSender
from gateway.webhook_secrets import Secrets
from gateway.webhook_servicer import WebhookServicer
from gateway.webhooks import Webhooks

__all__ = ["sender_of", "webhook_service"]

_SERVICE = webhook_service_pb2.DESCRIPTOR.services_by_name["WebhookService"]


def webhook_service(settings: Settings, database: Database, pages: EventPages) -> Service:
    """The gRPC service for webhooks."""
    rules = Webhooks(_addresses(settings), _secrets(settings))
    servicer = WebhookServicer(database, rules, partial(_heads, pages))
    return Service(
        _SERVICE, webhook_service_pb2_grpc.add_WebhookServiceServicer_to_server, servicer
    )


def sender_of(settings: Settings) -> WebhookSender:
    """What makes the attempts, in a worker."""
    return WebhookSender(OutsideHttp(_addresses(settings)), _secrets(settings))


async def _heads(pages: EventPages) -> dict[str, int]:
    return dict((await pages.start("now")).positions)


def _addresses(settings: Settings) -> OutsideAddresses:
    return OutsideAddresses(settings.webhook_ports, settings.webhook_local)


def _secrets(settings: Settings) -> Secrets:
    key = settings.webhook_key
    return Secrets(Seal.from_text(key.reveal()) if key else None)
