"""An internal identity that was made up, bent, or meant for somebody else opens no server."""

import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from typing import Any

import grpc
import pytest
from mesh import Mesh, encoded

from common.caller import Caller, service_caller

# A read of each server that an honest identity of acme may call.
READS = {
    "inventory": "/erp.inventory.v1.InventoryService/ListProducts",
    "accounting": "/erp.accounting.v1.AccountingService/ListAccounts",
    "sales": "/erp.sales.v1.SalesService/ListCustomers",
    "gateway": "/erp.gateway.v1.UserService/ListUsers",
}
Forge = Callable[[Mesh, str], str]


def part(content: Any) -> str:
    return encoded(json.dumps(content).encode())


def unsigned(claims: Mapping[str, Any], algorithm: str, signature: str = "") -> str:
    return f"{part({'alg': algorithm, 'kid': 'gateway'})}.{part(claims)}.{signature}"


def by_public_key(mesh: Mesh, server: str, key: bytes) -> str:
    """HS256 with what everybody may know as the password."""
    head = f"{part({'alg': 'HS256', 'kid': 'gateway'})}.{part(mesh.claims(server))}"
    made = hmac.digest(key, head.encode(), hashlib.sha256)
    return f"{head}.{encoded(made)}"


def other_body(mesh: Mesh, server: str, **claims: Any) -> str:
    """The signature of an honest token under other words."""
    head, _, signature = mesh.signed(mesh.claims(server)).split(".")
    return f"{head}.{part(mesh.claims(server, **claims))}.{signature}"


def spoken_by(mesh: Mesh, server: str, issuer: str) -> str:
    claims = mesh.claims(server, iss=issuer, act=[issuer])
    return mesh.signed(claims, mesh.seed(issuer), kid=issuer)


def ago(seconds: int) -> dict[str, int]:
    now = int(time.time())
    return {"iat": now - seconds, "exp": now - seconds + 60}


FORGERIES: dict[str, Forge] = {
    "alg none": lambda mesh, server: unsigned(mesh.claims(server), "none"),
    "alg None": lambda mesh, server: unsigned(mesh.claims(server), "None"),
    "alg EdDSA without signature": lambda mesh, server: unsigned(mesh.claims(server), "EdDSA"),
    "alg HS256 by the public key": lambda mesh, server: by_public_key(
        mesh, server, mesh.public_key("gateway")
    ),
    "alg HS256 by the public key as text": lambda mesh, server: by_public_key(
        mesh, server, encoded(mesh.public_key("gateway")).encode()
    ),
    "alg HS256 by an empty password": lambda mesh, server: by_public_key(mesh, server, b""),
    "somebody's own key": lambda mesh, server: mesh.signed(mesh.claims(server), b"m" * 32),
    "kid of nobody": lambda mesh, server: mesh.signed(mesh.claims(server), kid="mallory"),
    "kid that is a path": lambda mesh, server: mesh.signed(mesh.claims(server), kid="../dev/null"),
    "kid that is no text": lambda mesh, server: mesh.signed(mesh.claims(server), kid=7),
    "kid of another service": lambda mesh, server: mesh.signed(mesh.claims(server), kid="sales"),
    "key in its own header": lambda mesh, server: mesh.signed(
        mesh.claims(server),
        b"m" * 32,
        jwk={"kty": "OKP", "crv": "Ed25519", "x": "bW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW1tbW0"},
    ),
    "expired": lambda mesh, server: mesh.signed(mesh.claims(server, **ago(61))),
    "good for an hour": lambda mesh, server: mesh.signed(
        mesh.claims(server, exp=int(time.time()) + 3600)
    ),
    "from the future": lambda mesh, server: mesh.signed(mesh.claims(server, **ago(-30))),
    "without an end": lambda mesh, server: mesh.signed(mesh.claims(server, exp=...)),
    "for another service": lambda mesh, server: mesh.signed(
        mesh.claims("sales" if server != "sales" else "inventory")
    ),
    "for all services": lambda mesh, server: mesh.signed(mesh.claims(server, aud=list(READS))),
    "for none": lambda mesh, server: mesh.signed(mesh.claims(server, aud=...)),
    "another tenant under an honest signature": lambda mesh, server: other_body(
        mesh, server, tenant=str(mesh.tenants["globex"])
    ),
    "more permissions under an honest signature": lambda mesh, server: other_body(
        mesh, server, permissions=["*", "platform.*"]
    ),
    "a user let in by a service behind": lambda mesh, server: spoken_by(mesh, server, "accounting"),
    "another service's name": lambda mesh, server: mesh.signed(
        mesh.claims(server, sub="service:sales")
    ),
    "no chain of services": lambda mesh, server: mesh.signed(mesh.claims(server, act=[])),
    "permissions as a word": lambda mesh, server: mesh.signed(mesh.claims(server, permissions="*")),
    "a tenant by its short name": lambda mesh, server: mesh.signed(
        mesh.claims(server, tenant="acme")
    ),
}


@pytest.mark.parametrize("server", READS)
async def test_an_honest_identity_opens_the_server(mesh: Mesh, server: str) -> None:
    token = mesh.signed(mesh.claims(server))

    assert await mesh.call(server, READS[server], token) == (grpc.StatusCode.OK, "")


@pytest.mark.parametrize("forgery", FORGERIES)
@pytest.mark.parametrize("server", READS)
async def test_a_forged_identity_opens_nothing(mesh: Mesh, server: str, forgery: str) -> None:
    token = FORGERIES[forgery](mesh, server)

    code, words = await mesh.call(server, READS[server], token)

    assert code is grpc.StatusCode.UNAUTHENTICATED, words
    assert token.rpartition(".")[0] not in words


@pytest.mark.parametrize("server", READS)
@pytest.mark.parametrize("tenant", ["globex", "nobody", "acme,globex"])
async def test_x_tenant_id_must_be_the_identity_s_own(mesh: Mesh, server: str, tenant: str) -> None:
    token = mesh.signed(mesh.claims(server))
    named = str(mesh.tenants.get(tenant, tenant))

    code, words = await mesh.call(server, READS[server], token, ("x-tenant-id", named))

    assert code is grpc.StatusCode.UNAUTHENTICATED
    assert "x-tenant-id" in words


@pytest.mark.parametrize("server", READS)
async def test_one_identity_beside_another_adds_nothing_to_it(mesh: Mesh, server: str) -> None:
    honest = mesh.signed(mesh.claims(server))
    forged = FORGERIES["alg none"](mesh, server)

    code, _ = await mesh.call(server, READS[server], honest, ("authorization", f"Bearer {forged}"))

    assert code is grpc.StatusCode.UNAUTHENTICATED


async def test_a_service_of_no_tenant_reads_no_tenant(mesh: Mesh) -> None:
    for server, path in READS.items():
        token = mesh.token(service_caller("sales", None), server, issuer="sales")

        code, words = await mesh.call(server, path, token)

        assert code not in (grpc.StatusCode.OK, grpc.StatusCode.INTERNAL), words


async def test_a_service_passes_a_user_on_with_the_user_s_permissions_only(mesh: Mesh) -> None:
    user = Caller(mesh.tenants["acme"], "user:x", frozenset({"sales.orders.read"}), ("gateway",))
    token = mesh.token(user, "inventory", issuer="sales")

    code, _ = await mesh.call("inventory", READS["inventory"], token)

    assert code is grpc.StatusCode.PERMISSION_DENIED
