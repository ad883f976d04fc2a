"""`python -m common.probe`: whether the process in this container can serve, by its exit status."""

import sys

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from common.settings import Settings, SettingsError, load_settings

SECONDS = 3.0


def probe(settings: Settings, name: str = "readiness") -> bool:
    """Ask on KV_ERP_HEALTH_BIND, from this machine.

    Raises:
        SettingsError: it is not set.
    """
    bind = settings.health_bind
    if bind is None or not bind.port:
        raise SettingsError("KV_ERP_HEALTH_BIND is not set: there is nobody to ask.")
    try:
        with grpc.insecure_channel(f"127.0.0.1:{bind.port}") as channel:
            request = health_pb2.HealthCheckRequest(service=name)
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=SECONDS)
    except grpc.RpcError:
        return False
    return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def main() -> None:
    """Exit with 0 when it can, 1 when it cannot."""
    try:
        sys.exit(0 if probe(load_settings(), *sys.argv[1:2]) else 1)
    except SettingsError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
