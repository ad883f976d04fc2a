"""The services' gRPC as seen inside the mesh, with identities signed by the stack's own keys."""

import base64
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import grpc.aio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from google.protobuf.descriptor import ServiceDescriptor

import erp
from common.caller import Caller
from common.identity import Minter
from common.rpc_policy import RpcPolicy, read_policies
from gateway.contract import SERVICES
from ops.background import BackgroundStack

# What servers offer beside their own services.
SHARED = {
    "erp.events.v1.EventLog": ("inventory", "accounting", "sales", "gateway"),
    "erp.audit.v1.AuditLog": ("inventory", "accounting", "sales"),
    "erp.jobs.v1.JobService": ("inventory", "accounting", "sales"),
    "erp.tenants.v1.TenantRows": ("inventory", "accounting", "sales"),
    "erp.audit.v1.Auditor": ("inventory", "accounting", "sales"),
    "erp.events.v1.EventPublisher": ("gateway",),
}


def every_service() -> list[ServiceDescriptor]:
    """All gRPC services of the contract, whether the gateway offers them or not."""
    root = Path(next(iter(erp.__path__)))
    names = (path.relative_to(root.parent).with_suffix("") for path in root.rglob("*_pb2.py"))
    files = [import_module(".".join(name.parts)).DESCRIPTOR for name in sorted(names)]
    return [service for file in files for service in file.services_by_name.values()]


def servers_of(service: ServiceDescriptor) -> Sequence[str]:
    """The servers that offer a service; none when nobody has said so in SHARED."""
    owners = [server for server, services in SERVICES.items() if service in services]
    return owners or SHARED.get(service.full_name, ())


def every_rpc() -> Iterator[tuple[str, RpcPolicy]]:
    """Each rpc with each server that offers it."""
    for service in every_service():
        for policy in read_policies(service).values():
            for server in servers_of(service):
                yield server, policy


def encoded(content: bytes) -> str:
    """Base64url as in tokens."""
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


class Mesh:
    """Calls the servers of a stack directly, past the gateway."""

    def __init__(self, stack: BackgroundStack) -> None:
        self._addresses: Mapping[str, str] = stack.state["grpc"]
        self._seeds = json.loads((stack.directory / "secrets.json").read_text())["identity_seeds"]
        self._channels: dict[str, grpc.aio.Channel] = {}
        self.tenants = {name: UUID(one["id"]) for name, one in stack.state["tenants"].items()}

    async def close(self) -> None:
        """Hang up."""
        for channel in self._channels.values():
            await channel.close()

    def seed(self, issuer: str) -> bytes:
        """The private key by which a service signs."""
        return base64.urlsafe_b64decode(self._seeds[issuer] + "==")

    def public_key(self, issuer: str) -> bytes:
        """What everybody may know of it."""
        return (
            Ed25519PrivateKey.from_private_bytes(self.seed(issuer)).public_key().public_bytes_raw()
        )

    def token(self, caller: Caller, audience: str, issuer: str = "gateway") -> str:
        """The identity with which a service passes a caller on."""
        return Minter(issuer, self.seed(issuer)).mint(caller, audience)

    def claims(self, audience: str, **other: Any) -> dict[str, Any]:
        """What an honest identity of acme says, but for what is given; `...` leaves one out."""
        now = int(time.time())
        honest = {
            "iss": "gateway", "aud": audience, "tenant": str(self.tenants["acme"]),
            "sub": "user:01890000-0000-7000-8000-000000000001", "permissions": ["*"],
            "act": ["gateway"], "iat": now, "exp": now + 60,
        }  # fmt: skip
        return {key: value for key, value in (honest | other).items() if value is not ...}

    def signed(self, claims: dict[str, Any], key: bytes | None = None, **headers: Any) -> str:
        """A token of these claims, by the gateway's key unless another is given."""
        private = Ed25519PrivateKey.from_private_bytes(key or self.seed("gateway"))
        head = {"alg": "EdDSA", "typ": "JWT", "kid": "gateway"} | headers
        words = f"{encoded(json.dumps(head).encode())}.{encoded(json.dumps(claims).encode())}"
        return f"{words}.{encoded(private.sign(words.encode()))}"

    async def call(
        self, server: str, path: str, token: str, *metadata: tuple[str, str], body: bytes = b""
    ) -> tuple[grpc.StatusCode, str]:
        """How a call is answered, and in which words."""
        channel = self._channels.get(server)
        if channel is None:
            channel = grpc.aio.insecure_channel(self._addresses[server])
            self._channels[server] = channel
        pairs: Any = [("authorization", f"Bearer {token}"), *metadata]
        try:
            await channel.unary_unary(path)(body, metadata=pairs, timeout=30)
        except grpc.aio.AioRpcError as refused:
            return refused.code(), refused.details() or ""
        return grpc.StatusCode.OK, ""
