import base64
import json
import time
from dataclasses import replace

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from common import ids
from common.caller import Caller, service_caller
from common.errors import Unauthenticated
from common.identity import Minter, Verifier, encode_key, minter_of, verifier_of
from common.settings import SettingsError, load_settings

GATEWAY = Minter("gateway", b"g" * 32)
SALES = Minter("sales", b"s" * 32)
TRUSTED = {"gateway": [GATEWAY.public_key()], "sales": [SALES.public_key()]}
ALICE = Caller(ids.new(), "user:alice", frozenset({"inventory.stock.read"}))


@pytest.fixture
def inventory():
    return Verifier(TRUSTED, "inventory")


def claims(**changes):
    now = int(time.time())
    good = {
        "iss": "gateway",
        "aud": "inventory",
        "tenant": str(ALICE.tenant_id),
        "sub": "user:alice",
        "permissions": [],
        "act": ["gateway"],
        "iat": now,
        "exp": now + 60,
    }
    return {name: value for name, value in {**good, **changes}.items() if value is not ...}


def signed(content, *, seed=b"g" * 32, kid="gateway", algorithm="EdDSA"):
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return jwt.encode(content, key, algorithm, {"kid": kid})


def reason(verifier, token):
    with pytest.raises(Unauthenticated) as caught:
        verifier.verify(token, "r")
    return str(caught.value)


def test_the_callee_learns_who_calls_and_through_whom(inventory):
    token = GATEWAY.mint(ALICE, "inventory")

    assert inventory.verify(token, "r-1") == replace(ALICE, actors=("gateway",), request_id="r-1")


def test_the_callee_learns_in_which_session(inventory):
    logged_in = replace(ALICE, session_id="s-1")

    assert inventory.verify(GATEWAY.mint(logged_in, "inventory"), "r").session_id == "s-1"
    assert inventory.verify(GATEWAY.mint(ALICE, "inventory"), "r").session_id == ""


def test_everything_of_a_tenant_is_nothing_above_tenants():
    everything = replace(ALICE, permissions=frozenset({"*"}))
    operator = replace(ALICE, permissions=frozenset({"platform.*"}))

    assert everything.may("sales.orders.read")
    assert not everything.may("platform.tenants.write")
    assert not everything.may("platform.*")
    assert operator.may("platform.tenants.write")
    assert not operator.may("sales.orders.read")


def test_a_service_passes_a_user_on_with_itself_added_to_the_chain(inventory):
    at_sales = Verifier(TRUSTED, "sales").verify(GATEWAY.mint(ALICE, "sales"), "r")

    at_inventory = inventory.verify(SALES.mint(at_sales, "inventory"), "r")

    assert (at_inventory.subject, at_inventory.actors) == ("user:alice", ("gateway", "sales"))


def test_work_of_another_service_goes_on_under_the_name_of_the_one_that_calls(inventory):
    worker = replace(service_caller("accounting", ALICE.tenant_id), actors=("accounting",))

    seen = inventory.verify(SALES.mint(worker, "inventory"), "r")

    assert (seen.subject, seen.actors) == ("service:sales", ("accounting", "sales"))


def test_a_service_may_work_for_no_tenant_in_particular(inventory):
    token = SALES.mint(service_caller("sales", None), "inventory")

    assert inventory.verify(token, "r").tenant_id is None


def test_only_a_service_on_its_way_is_a_service_to_an_internal_rpc(inventory):
    from_gateway = inventory.verify(GATEWAY.mint(ALICE, "inventory"), "r")
    through_sales = replace(ALICE, actors=("gateway", "sales"))
    gateway_itself = inventory.verify(
        GATEWAY.mint(service_caller("gateway", None), "inventory"), "r"
    )

    assert not ALICE.is_service
    assert not from_gateway.is_service
    assert through_sales.is_service
    assert gateway_itself.is_service


def test_a_token_serves_many_calls_of_one_caller():
    first = GATEWAY.mint(replace(ALICE, request_id="r-1"), "inventory")

    assert GATEWAY.mint(replace(ALICE, request_id="r-2"), "inventory") == first
    assert GATEWAY.mint(ALICE, "sales") != first
    assert GATEWAY.mint(replace(ALICE, permissions=frozenset()), "inventory") != first
    assert GATEWAY.mint(replace(ALICE, tenant_id=ids.new()), "inventory") != first


def test_a_token_is_renewed_before_it_gets_old(monkeypatch, inventory):
    first = GATEWAY.mint(ALICE, "inventory")
    now = time.time()

    monkeypatch.setattr(time, "time", lambda: now + 31)

    assert GATEWAY.mint(ALICE, "inventory") != first
    inventory.verify(first, "r")


def test_a_known_token_is_refused_once_it_has_expired(inventory):
    token = signed(claims(exp=int(time.time()) + 2))
    inventory.verify(token, "r")
    limit = time.time() + 5

    with pytest.raises(Unauthenticated, match="expired"):
        while time.time() < limit:
            inventory.verify(token, "r")


def test_the_memory_of_tokens_is_bounded(inventory):
    minter = Minter("gateway", b"g" * 32)

    for number in range(2100):
        minter.mint(replace(ALICE, subject=f"user:{number}"), "inventory")

    assert len(minter._tokens) <= 2048


@pytest.mark.parametrize(
    ("token", "why"),
    [
        (lambda: "", "Not enough segments"),
        (lambda: "a.b.c", "not valid"),
        (lambda: signed(claims(aud="sales")), "udience"),
        (lambda: signed(claims(aud=["inventory", "sales"])), "not valid"),
        (lambda: signed(claims(iss="sales", sub="service:sales", act=["sales"])), "Invalid issuer"),
        (lambda: signed(claims(exp=int(time.time()) - 1, iat=int(time.time()) - 30)), "expired"),
        (lambda: signed(claims(exp=int(time.time()) + 3600)), "longer than 60 s"),
        (lambda: signed(claims(iat=int(time.time()) + 30, exp=int(time.time()) + 60)), "future"),
        (
            lambda: signed(claims(iat=int(time.time()) + 30, exp=int(time.time()) + 20)),
            "longer than",
        ),
        (lambda: signed(claims(iat="now")), "malformed"),
        (lambda: signed(claims(exp=...)), "exp"),
        (lambda: signed(claims(act=...)), "act"),
        (lambda: signed(claims(act=[])), "chain"),
        (lambda: signed(claims(act=["gateway", "sales"])), "chain"),
        (lambda: signed(claims(tenant="acme")), "malformed"),
        (lambda: signed(claims(permissions=7)), "malformed"),
        (lambda: signed(claims(permissions="*")), "malformed"),
        (lambda: signed(claims(sub="service:sales")), "may not speak as service:sales"),
        (lambda: signed(claims(), kid="mallory"), "not trusted"),
        (lambda: signed(claims(), seed=b"m" * 32), "ignature"),
        (
            lambda: signed(claims(iss="sales", act=["sales"]), seed=b"s" * 32, kid="sales"),
            "let user:alice",
        ),
    ],
)
def test_an_identity_that_is_not_in_order_is_refused_with_the_reason(inventory, token, why):
    # Made now: tokens do not live long enough to be made when tests are collected.
    assert why in reason(inventory, token())


def test_a_token_without_signature_is_refused(inventory):
    def part(content):
        return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")

    token = f"{part({'alg': 'none', 'kid': 'gateway'})}.{part(claims())}."

    assert "not valid" in reason(inventory, token)


@pytest.mark.filterwarnings("ignore:The HMAC key")
def test_a_token_signed_with_the_public_key_as_password_is_refused(inventory):
    token = jwt.encode(claims(), GATEWAY.public_key(), "HS256", {"kid": "gateway"})

    assert "not valid" in reason(inventory, token)


def test_a_token_for_one_service_does_not_open_another():
    token = GATEWAY.mint(ALICE, "sales")

    assert "udience" in reason(Verifier(TRUSTED, "inventory"), token)


def test_old_and_new_key_are_believed_while_a_key_is_being_changed():
    renewed = Minter("gateway", b"n" * 32)
    both = Verifier({"gateway": [GATEWAY.public_key(), renewed.public_key()]}, "inventory")

    assert both.verify(GATEWAY.mint(ALICE, "inventory"), "r").subject == "user:alice"
    assert both.verify(renewed.mint(ALICE, "inventory"), "r").subject == "user:alice"


def keys_in_settings(**changes):
    good = {
        "KV_ERP_IDENTITY_KEY": f"sales:{encode_key(b's' * 32)}",
        "KV_ERP_IDENTITY_TRUSTED_KEYS": f"gateway:{encode_key(GATEWAY.public_key())},"
        f"sales:{encode_key(SALES.public_key())}",
    }
    return load_settings({**good, **changes})


def test_keys_come_from_the_settings():
    settings = keys_in_settings()

    token = minter_of(settings).mint(service_caller("sales", None), "inventory")

    assert verifier_of(settings, "inventory").verify(token, "r").subject == "service:sales"


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("KV_ERP_IDENTITY_KEY", "sales", "must be name:seed"),
        ("KV_ERP_IDENTITY_KEY", "sales:c2hvcnQ", "must be name:seed"),
        ("KV_ERP_IDENTITY_KEY", f"sales:{encode_key(b'x' * 32)}", "lacks the public key"),
        ("KV_ERP_IDENTITY_KEY", "", "is not set"),
        ("KV_ERP_IDENTITY_TRUSTED_KEYS", "gateway:???", "the one of gateway is not"),
    ],
)
def test_a_key_that_nobody_would_believe_stops_the_process(name, text, why):
    with pytest.raises(SettingsError, match=why) as caught:
        minter_of(keys_in_settings(**{name: text}))

    assert encode_key(b"x" * 32) not in str(caught.value)
