"""Builds the inventory's processes: everything once, here."""

from functools import partial

import inventory
from common import runtime
from common.command_line import WorkerOptions
from common.duties import Duty
from common.files.tables import EXPORT_PARTS, EXPORTS, IMPORTS, keep_files
from common.numbers import DOCUMENTS
from common.process import Stop
from common.runtime import Runtime
from common.server import Service
from common.settings import Settings
from erp.inventory.v1 import (
    inventory_service_pb2,
    inventory_service_pb2_grpc,
    product_file_service_pb2,
    product_file_service_pb2_grpc,
)
from inventory import backorders, listeners, product_files, releasing
from inventory.audit import auditor_of
from inventory.file_servicer import ProductFileServiceServicer
from inventory.servicer import InventoryServicer

# Modules with handlers of jobs.
HANDLERS = (product_files,)
SYSTEM_REASONS = frozenset({releasing.SYSTEM_REASON, backorders.SYSTEM_REASON})


async def serve(settings: Settings, stop: Stop) -> None:
    """Serve the inventory until told to stop."""
    opened = Runtime("inventory", settings, handlers=HANDLERS)
    service = Service(
        inventory_service_pb2.DESCRIPTOR.services_by_name["InventoryService"],
        inventory_service_pb2_grpc.add_InventoryServiceServicer_to_server,
        InventoryServicer(opened.database, lambda: opened.locks),
    )
    files = Service(
        product_file_service_pb2.DESCRIPTOR.services_by_name["ProductFileService"],
        product_file_service_pb2_grpc.add_ProductFileServiceServicer_to_server,
        ProductFileServiceServicer(opened.database),
    )
    await opened.serve(stop, service, files, auditor=auditor_of(opened.database))


async def work(settings: Settings, stop: Stop, options: WorkerOptions) -> None:
    """Follow the gateway's and sales' events and keep the clock until told to stop."""
    opened = Runtime("inventory", settings, SYSTEM_REASONS, HANDLERS)
    duties = [
        Duty("end expired holds", 1.0, partial(releasing.expire_holds, opened.database)),
        Duty("fill untried backorders", 1.0, partial(backorders.fill_untried, opened.database)),
        keep_files(opened.database, IMPORTS, EXPORTS, EXPORT_PARTS),
    ]
    await opened.work(stop, options, listeners, duties, (DOCUMENTS,))


def migrate(settings: Settings) -> None:
    """Bring the inventory's database to the newest schema."""
    runtime.migrate(inventory, settings)
