"""The commands about companies, users and tokens, against the whole system."""

import json
import os
import secrets
import subprocess
import sys
from typing import Any

import pytest
from typer.testing import CliRunner

from ops.background import BackgroundStack
from ops.main import app

pytestmark = pytest.mark.first


@pytest.fixture
def kv_erp(stack: BackgroundStack) -> Any:
    """What a command prints, run in this process: to start one takes most of a second."""
    runner = CliRunner(env={"KV_ERP_DEV_DIR": str(stack.directory)})

    def run(*words: str, code: int = 0) -> str:
        done = runner.invoke(app, words)
        assert done.exit_code == code, done.output
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.fixture
def process(stack: BackgroundStack) -> Any:
    """The same as a process of its own."""

    def run(*words: str) -> str:
        environment = os.environ | {"KV_ERP_DEV_DIR": str(stack.directory)}
        command = [sys.executable, "-m", "ops", *words]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_an_operator_makes_a_company_and_keeps_it_out(kv_erp: Any, process: Any) -> None:
    slug = f"c-{secrets.token_hex(6)}"
    create = ("tenants", "create", slug, "--name", "New", "--admin", f"boss@{slug}.example")

    (made,) = json.loads(process(*create, "--json"))
    why = ("--reason", "unpaid", "--json")
    (suspended,) = json.loads(kv_erp("tenants", "suspend", slug, "--yes", *why))
    (resumed,) = json.loads(kv_erp("tenants", "resume", slug, *why))
    (changed,) = json.loads(kv_erp("tenants", "plan", slug, "unmetered", "--json"))
    listed = json.loads(kv_erp("tenants", "list", "--json"))

    assert made["setup_token"].startswith("kvs_")
    assert [one["state"] for one in (made, suspended, resumed)] == ["active", "suspended", "active"]
    assert changed["plan"] == "unmetered"
    assert {slug, "acme"} <= {one["slug"] for one in listed}
    assert "TENANT_EXISTS" in kv_erp(*create, code=1)


def test_users_and_tokens_of_a_company(kv_erp: Any, process: Any) -> None:
    email = f"u-{secrets.token_hex(6)}@x.example"

    (user,) = json.loads(process("users", "create", email, "--role", "viewer", "--json"))
    (invited,) = json.loads(kv_erp("users", "invite", email, "--json"))
    (gone,) = json.loads(kv_erp("users", "deactivate", email, "--yes", "--json"))
    (token,) = json.loads(process("tokens", "create", "t", "--permission", "sales.*", "--json"))
    kv_erp("tokens", "revoke", token["id"])

    assert user["state"] == "invited"
    assert invited["setup_token"] not in ("", user["setup_token"])
    assert gone["state"] == "deactivated"
    assert token["token"].startswith("kv_")
    assert token["id"] not in [one["id"] for one in json.loads(kv_erp("tokens", "list", "--json"))]
    assert "no role nobody" in kv_erp("users", "create", "x@y.example", "--role", "nobody", code=1)


def test_who_has_the_database_becomes_an_operator(
    kv_erp: Any, process: Any, stack: BackgroundStack
) -> None:
    first = process("operator", "--name", "a").strip()
    second, other = (kv_erp("operator", "--name", name).strip() for name in ("a", "b"))

    def tenants(token: str, code: int = 0) -> str:
        return kv_erp(
            "tenants", "list", "--url", stack.state["gateway"], "--token", token, code=code
        )

    assert "acme" in tenants(second)
    assert "acme" in tenants(other)
    assert "acme" in kv_erp("tenants", "list")
    assert "credential" in tenants(first, code=1)
