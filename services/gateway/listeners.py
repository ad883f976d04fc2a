"""What the gateway does about what happens anywhere: it sends it to webhooks."""

from collections.abc import Sequence

from common.database import Transaction
from common.listening import Heard, hears_all
from erp.events.v1.events_pb2 import Event
from gateway import webhook_deliveries


@hears_all("accounting", "gateway", "inventory", "sales", queue="low")
async def send_to_webhooks(tx: Transaction, events: Sequence[Heard[Event]]) -> None:
    """Begin to send what happened to the webhooks of the tenant."""
    await webhook_deliveries.send_all(tx, [heard.message for heard in events])
