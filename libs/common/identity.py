"""The signed identity with which one service calls another: EdDSA tokens of at most 60 seconds."""

import base64
import time
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from common.caller import Caller
from common.errors import Unauthenticated
from common.settings import Settings, SettingsError

__all__ = ["LIFETIME_SECONDS", "Minter", "Verifier", "minter_of", "verifier_of"]

LIFETIME_SECONDS = 60
# A token is used for half its life: the last call that carries it has the other half to arrive.
_REUSE_SECONDS = 30
# How far the clocks of two machines may be apart.
_SKEW_SECONDS = 5
_CACHED = 2048
_KEY_BYTES = 32
_EDGE = "gateway"
_CLAIMS = ("iss", "aud", "sub", "permissions", "act", "iat", "exp")


class Minter:
    """Signs what this service says about who is calling."""

    def __init__(self, name: str, seed: bytes) -> None:
        self.name = name
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._tokens: dict[tuple[Any, ...], tuple[str, int]] = {}

    def mint(self, caller: Caller, audience: str) -> str:
        """The token that names this caller to a service; the same one for half a minute."""
        now = int(time.time())
        who = (caller.tenant_id, caller.subject, caller.session_id)
        key = (audience, *who, caller.permissions, caller.actors)
        token, minted = self._tokens.get(key, ("", 0))
        # Compared both ways: a clock that was set back must not keep an old token alive.
        if not 0 <= now - minted < _REUSE_SECONDS:
            token = self._sign(caller, audience, now)
            self._tokens.pop(key, None)
            _remember(self._tokens, key, (token, now))
        return token

    def public_key(self) -> bytes:
        """The 32 bytes by which others verify our tokens."""
        return self._key.public_key().public_bytes_raw()

    def _sign(self, caller: Caller, audience: str, now: int) -> str:
        claims = {
            "iss": self.name,
            "aud": audience,
            "tenant": str(caller.tenant_id) if caller.tenant_id else None,
            "sub": self._subject(caller),
            "permissions": sorted(caller.permissions),
            "act": [*caller.actors, self.name],
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        } | ({"sid": caller.session_id} if caller.session_id else {})
        return jwt.encode(claims, self._key, "EdDSA", {"kid": self.name})

    def _subject(self, caller: Caller) -> str:
        # Nobody may speak in another service's name: its work goes on under ours.
        return f"service:{self.name}" if caller.subject.startswith("service:") else caller.subject


class Verifier:
    """Believes what trusted services say about who is calling."""

    def __init__(self, trusted_keys: Mapping[str, Sequence[bytes]], audience: str) -> None:
        """Trust these services.

        Args:
            trusted_keys: raw public keys by service; more than one while a key is being changed.
            audience: the service that we are.
        """
        self._keys = {
            name: [Ed25519PublicKey.from_public_bytes(key) for key in keys]
            for name, keys in trusted_keys.items()
        }
        self._audience = audience
        self._known: dict[str, tuple[float, Caller]] = {}

    def verify(self, token: str, request_id: str) -> Caller:
        """The caller that a token names.

        Raises:
            Unauthenticated: the token is not one that we believe.
        """
        expires, caller = self._known.get(token, (0.0, None))
        if caller is None or expires <= time.time():
            self._known.pop(token, None)
            expires, caller = self._read(token)
            _remember(self._known, token, (expires, caller))
        who = caller
        return Caller(
            who.tenant_id, who.subject, who.permissions, who.actors, request_id, who.session_id
        )

    def _read(self, token: str) -> tuple[float, Caller]:
        try:
            claims = self._signed_claims(token)
            caller = _caller_of(claims)
            _check(claims, caller)
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(f"The internal identity is not valid: {error}.") from None
        except (TypeError, ValueError, AttributeError):
            raise Unauthenticated("The internal identity is malformed.") from None
        return float(claims["exp"]), caller

    def _signed_claims(self, token: str) -> dict[str, Any]:
        name = jwt.get_unverified_header(token).get("kid")
        keys = self._keys.get(name, ()) if isinstance(name, str) else ()
        if not keys:
            raise Unauthenticated(
                "The internal identity is signed with a key that is not trusted here."
            )
        for key in keys[:-1]:
            try:
                return self._decode(token, key, str(name))
            except jwt.InvalidSignatureError:
                continue
        return self._decode(token, keys[-1], str(name))

    def _decode(self, token: str, key: Ed25519PublicKey, issuer: str) -> dict[str, Any]:
        # The algorithm is ours to choose, never the token's.
        return jwt.decode(
            token,
            key,
            algorithms=["EdDSA"],
            audience=self._audience,
            issuer=issuer,
            options={"require": list(_CLAIMS), "verify_iat": False, "strict_aud": True},
        )


def _caller_of(claims: Mapping[str, Any]) -> Caller:
    permissions, actors = claims["permissions"], claims["act"]
    if not (isinstance(permissions, list) and isinstance(actors, list)):
        raise TypeError
    tenant_id = UUID(claims["tenant"]) if claims.get("tenant") else None
    session_id = str(claims.get("sid", ""))
    return Caller(tenant_id, claims["sub"], frozenset(permissions), tuple(actors), "", session_id)


def _check(claims: Mapping[str, Any], caller: Caller) -> None:
    issuer, issued, expires = claims["iss"], claims["iat"], claims["exp"]
    if not 0 < expires - issued <= LIFETIME_SECONDS:
        raise Unauthenticated(
            f"The internal identity is valid for longer than {LIFETIME_SECONDS} s."
        )
    if issued > time.time() + _SKEW_SECONDS:
        raise Unauthenticated("The internal identity is from the future.")
    if caller.actors[-1:] != (issuer,):
        raise Unauthenticated(
            "The internal identity's chain of services does not end with its issuer."
        )
    kind, _, name = caller.subject.partition(":")
    if kind == "service" and name != issuer:
        raise Unauthenticated(f"{issuer} may not speak as {caller.subject}.")
    if kind != "service" and caller.actors[0] != _EDGE:
        raise Unauthenticated(f"Nobody but the {_EDGE} may let {caller.subject} in.")


def minter_of(settings: Settings) -> Minter:
    """The minter with the key in KV_ERP_IDENTITY_KEY.

    Raises:
        SettingsError: there is no key, or others would not believe it.
    """
    name, _, text = settings.need_secret("identity_key").partition(":")
    seed = _key_bytes(text)
    if not name or seed is None:
        raise SettingsError(
            "KV_ERP_IDENTITY_KEY must be name:seed, the seed 32 bytes in base64url."
        )
    minter = Minter(name, seed)
    if minter.public_key() not in trusted_keys(settings).get(name, ()):
        raise SettingsError(
            f"KV_ERP_IDENTITY_TRUSTED_KEYS lacks the public key of KV_ERP_IDENTITY_KEY ({name})."
        )
    return minter


def verifier_of(settings: Settings, audience: str) -> Verifier:
    """The verifier that believes the keys in KV_ERP_IDENTITY_TRUSTED_KEYS.

    Raises:
        SettingsError: there are none, or one is malformed.
    """
    keys = trusted_keys(settings)
    if not keys:
        raise SettingsError(
            "KV_ERP_IDENTITY_TRUSTED_KEYS is not set: nobody could call this process."
        )
    return Verifier(keys, audience)


def trusted_keys(settings: Settings) -> dict[str, list[bytes]]:
    """The keys in KV_ERP_IDENTITY_TRUSTED_KEYS by service.

    Raises:
        SettingsError: one is malformed.
    """
    keys: dict[str, list[bytes]] = {}
    for entry in filter(None, (part.strip() for part in settings.identity_trusted_keys.split(","))):
        name, _, text = entry.partition(":")
        key = _key_bytes(text)
        if not name or key is None:
            raise SettingsError(
                f"KV_ERP_IDENTITY_TRUSTED_KEYS must be name:key,… with keys of {_KEY_BYTES} bytes "
                f"in base64url; the one of {name or 'a nameless service'} is not."
            )
        keys.setdefault(name, []).append(key)
    return keys


def encode_key(key: bytes) -> str:
    """A key as it stands in the settings."""
    return base64.urlsafe_b64encode(key).decode().rstrip("=")


def _key_bytes(text: str) -> bytes | None:
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    return key if len(key) == _KEY_BYTES else None


def _remember(cache: dict[Any, Any], key: object, value: object) -> None:
    if len(cache) >= _CACHED:
        del cache[next(iter(cache))]
    cache[key] = value
