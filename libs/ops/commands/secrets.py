"""`kv-erp secrets`: everything secret that a new installation needs, made at random."""

import json
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from ops.credentials import DATABASES, ROLE_KINDS, Credentials

app = typer.Typer(no_args_is_help=True, help="Secrets of a new installation, to standard output.")


@app.command("kubernetes")
def for_kubernetes(
    prefix: Annotated[str, typer.Option(help="What the names of the secrets begin with.")] = (
        "kv-erp-"
    ),
) -> None:
    """Print the Secrets that the Helm chart refers to: `… | kubectl apply -n … -f -`."""
    items = list(_secrets(_made(), prefix))
    typer.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=2))


@app.command("env")
def for_environment() -> None:
    """Print NAME=value lines for Docker Compose, or to fill the files of several hosts from."""
    for name, value in _variables(_made()):
        typer.echo(f"{name}={value}")


def _made() -> Credentials:
    with tempfile.TemporaryDirectory() as folder:
        return Credentials(Path(folder) / "secrets.json")


def _secrets(made: Credentials, prefix: str) -> Iterator[dict[str, Any]]:
    keys = {service: made.identity_key(service) for service in DATABASES}
    yield _secret(f"{prefix}identity", keys | {"trusted-keys": made.trusted_keys()})
    yield _secret(f"{prefix}session", {"session-key": made.session_key})
    yield _secret(f"{prefix}webhook", {"webhook-key": made.webhook_key})
    yield _secret(f"{prefix}redis", {"redis-password": secrets.token_urlsafe(24)})
    for service in DATABASES:
        for kind in ROLE_KINDS:
            role = f"{service}_{kind}"
            account = {"username": role, "password": made.role_password(role)}
            name = f"{prefix}db-{service}-{kind}"
            yield _secret(name, account, "kubernetes.io/basic-auth")


def _secret(name: str, content: dict[str, str], kind: str = "Opaque") -> dict[str, Any]:
    # CloudNativePG takes over a changed password of a secret with this label.
    labels = {"cnpg.io/reload": "true"} if kind.endswith("basic-auth") else {}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": kind,
        "metadata": {"name": name, "labels": labels},
        "stringData": content,
    }


def _variables(made: Credentials) -> Iterator[tuple[str, str]]:
    yield "POSTGRES_PASSWORD", made.superuser_password
    yield "REDIS_PASSWORD", secrets.token_urlsafe(24)
    yield "SESSION_KEY", made.session_key
    yield "WEBHOOK_KEY", made.webhook_key
    yield "IDENTITY_TRUSTED_KEYS", made.trusted_keys()
    for service in DATABASES:
        yield f"{service.upper()}_IDENTITY_KEY", made.identity_key(service)
        for kind in ROLE_KINDS:
            role = f"{service}_{kind}"
            yield f"{role.upper()}_PASSWORD", made.role_password(role)
