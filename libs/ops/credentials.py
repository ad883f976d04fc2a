"""The local stack's passwords and keys, made once and kept in secrets.json."""

import base64
import secrets
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from ops.files import read_json, write_json

SERVICES = ("inventory", "accounting", "sales")
DATABASES = (*SERVICES, "gateway")
ROLE_KINDS = ("owner", "app", "system")
# The operator's key signs what `kv-erp token mint` makes.
IDENTITIES = ("gateway", *SERVICES, "operator")


class Credentials:
    """Everything secret of one stack: role passwords, identity keys, the demo tenants' tokens."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._content: dict[str, Any] = read_json(path) or {}
        if self._complete():
            self._save()

    @property
    def superuser_password(self) -> str:
        """Of the embedded PostgreSQL's superuser."""
        return str(self._content["postgres"])

    def role_password(self, role: str) -> str:
        """Of a database role such as `sales_app`."""
        return str(self._content["roles"][role])

    def identity_key(self, name: str) -> str:
        """`name:seed`, the private key by which `name` signs internal identities."""
        return f"{name}:{self._content['identity_seeds'][name]}"

    def trusted_keys(self) -> str:
        """`name:public key` of all identities, separated by commas."""
        return ",".join(f"{name}:{self._public_key(name)}" for name in IDENTITIES)

    @property
    def session_key(self) -> str:
        """`name:key`, by which the gateway encrypts sessions."""
        return f"local:{self._content['session_key']}"

    @property
    def webhook_key(self) -> str:
        """`name:key`, by which the gateway encrypts the secrets of webhooks."""
        return f"local:{self._content['webhook_key']}"

    @property
    def tenants(self) -> dict[str, Any] | None:
        """The demo tenants as the state file shows them, None before they were seeded."""
        return self._content.get("tenants")

    def keep_tenants(self, tenants: dict[str, Any]) -> None:
        """Store the seeded tenants: their tokens exist hashed in the database and nowhere else."""
        self._content["tenants"] = tenants
        self._save()

    @property
    def operator(self) -> dict[str, Any] | None:
        """The platform operator as the state file shows them, None before there was one."""
        return self._content.get("operator")

    def keep_operator(self, operator: dict[str, Any]) -> None:
        """Store the operator: their token exists hashed in the database and nowhere else."""
        self._content["operator"] = operator
        self._save()

    def _complete(self) -> bool:
        """Fill in what is missing; whether anything was."""
        before = str(self._content)
        self._content.setdefault("postgres", secrets.token_urlsafe(24))
        for name in ("session_key", "webhook_key"):
            key = base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
            self._content.setdefault(name, key)
        roles = self._content.setdefault("roles", {})
        for role in (f"{database}_{kind}" for database in DATABASES for kind in ROLE_KINDS):
            roles.setdefault(role, secrets.token_urlsafe(24))
        seeds = self._content.setdefault("identity_seeds", {})
        for name in IDENTITIES:
            seeds.setdefault(name, base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())
        return str(self._content) != before

    def _public_key(self, name: str) -> str:
        seed = base64.urlsafe_b64decode(self._content["identity_seeds"][name])
        public = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        return base64.urlsafe_b64encode(public).decode()

    def _save(self) -> None:
        write_json(self.path, self._content)
