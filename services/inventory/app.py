"""Builds the inventory's processes: everything once, here."""

from functools import partial

import inventory
from common import runtime
from common.command_line import WorkerOptions
from common.duties import Duty
from common.numbers import DOCUMENTS
from common.process import Stop
from common.runtime import Runtime
from common.server import Service
from common.settings import Settings
from erp.inventory.v1 import inventory_service_pb2, inventory_service_pb2_grpc
from inventory import backorders, listeners, releasing
from inventory.audit import auditor_of
from inventory.servicer import InventoryServicer

SYSTEM_REASONS = frozenset({releasing.SYSTEM_REASON, backorders.SYSTEM_REASON})


async def serve(settings: Settings, stop: Stop) -> None:
    """Serve the inventory until told to stop."""
    opened = Runtime("inventory", settings)
    service = Service(
        inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"],
        inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server,
        InventoryServicer(opened.database, lambda: opened.locks),
    )
    await opened.serve(stop, service, auditor=auditor_of(opened.database))


async def work(settings: Settings, stop: Stop, options: WorkerOptions) -> None:
    """Follow the gateway's and sales' events and keep the clock until told to stop."""
    opened = Runtime("inventory", settings, SYSTEM_REASONS)
    duties = [
        Duty("end expired holds", 1.0, partial(releasing.expire_holds, opened.database)),
        Duty("fill untried backorders", 1.0, partial(backorders.fill_untried, opened.database)),
    ]
    await opened.work(stop, options, listeners, duties, (DOCUMENTS,))


def migrate(settings: Settings) -> None:
    """Bring the inventory's database to the newest schema."""
    runtime.migrate(inventory, settings)
