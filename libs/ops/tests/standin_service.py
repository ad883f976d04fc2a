"""A stand-in for every service of the stack: just what the stack can tell from a real one."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from uuid import UUID

import psycopg

TENANTS = {name: str(UUID(int=number)) for number, name in enumerate(("acme", "globex", "initech"))}


async def main() -> None:
    """`python -m <service> server|worker|migrate|seed|operator`."""
    service, command = Path(__file__).parent.name, sys.argv[1]
    if os.environ.get("STANDIN_FAILS") == f"{service} {command}":
        sys.exit("stand-in: told to fail")
    if command == "seed":
        print(
            json.dumps(
                {name: {"id": i, "token": f"token-of-{name}"} for name, i in TENANTS.items()}
            )
        )
    elif command == "operator":
        print(json.dumps({"token": "token-of-the-operator"}))
    elif command == "migrate":
        migrate()
    elif command == "server":
        await serve(gateway=service == "gateway")
    elif command == "worker":
        await stopped().wait()
    note(f"{service} {command} ended")


def note(line: str) -> None:
    """Write a line of the journal that the test reads."""
    with Path(os.environ["STANDIN_JOURNAL"]).open("a") as journal:
        journal.write(f"{line}\n")


def migrate() -> None:
    """Make the one table that the stack looks into, with the tenants in it already."""
    with psycopg.connect(os.environ["KV_ERP_MIGRATION_DATABASE_URL"]) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS companies (tenant_id uuid PRIMARY KEY)")
        insert = "INSERT INTO companies SELECT unnest(%s::uuid[]) ON CONFLICT DO NOTHING"
        connection.execute(insert, [list(TENANTS.values())])


def stopped() -> asyncio.Event:
    """Set by SIGTERM."""
    event = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, event.set)
    return event


async def serve(*, gateway: bool) -> None:
    """Health over gRPC, and over HTTP for the gateway, until SIGTERM."""
    # Most processes of a stack need none of this, and a test starts dozens.
    import grpc  # noqa: PLC0415
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # noqa: PLC0415
    from grpc_health.v1.health import aio as health_aio  # noqa: PLC0415

    stop = stopped()
    server = grpc.aio.server()
    health = health_aio.HealthServicer()
    await health.set("readiness", health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    server.add_insecure_port(os.environ["KV_ERP_GRPC_BIND"])
    await server.start()
    if gateway:
        host, port = os.environ["KV_ERP_HTTP_BIND"].split(":")
        await asyncio.start_server(answer, host, int(port))
    await stop.wait()
    await server.stop(None)


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """200 for whatever is asked."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
    await writer.drain()
    writer.close()


asyncio.run(main())
