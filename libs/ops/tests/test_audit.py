"""`kv-erp audit` against a gateway that answers what the test wants."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from ops.files import write_json
from ops.main import app

VIOLATION = {"invariant": "reserved-matches-reservations", "stock_level_id": "0198-level"}


class Gateway(ThreadingHTTPServer):
    """Answers the invariant check by the token that asks."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.violations: dict[str, list[dict[str, Any]]] = {}


class Answers(BaseHTTPRequestHandler):
    """POST /api/v1/audit/invariants:check."""

    server: Gateway

    def do_POST(self) -> None:
        token = self.headers["authorization"].removeprefix("Bearer ")
        # Not self.path, in which http.server has already made one slash of two.
        asked = self.requestline.split()[1]
        known = token in self.server.violations and asked == "/api/v1/audit/invariants:check"
        body = json.dumps({"violations": self.server.violations[token]} if known else {}).encode()
        self.send_response(200 if known else 401)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    with Gateway() as gateway:
        thread = threading.Thread(target=gateway.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield gateway
        gateway.shutdown()
        thread.join()


@pytest.fixture
def stack(gateway: Gateway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gateway:
    """A running stack with two sound tenants, as far as state.json tells."""
    tenants = {name: {"token": f"token-of-{name}"} for name in ("acme", "globex")}
    write_json(tmp_path / "state.json", {"gateway": gateway.url, "tenants": tenants})
    monkeypatch.setenv("KV_ERP_DEV_DIR", str(tmp_path))
    gateway.violations = {tenant["token"]: [] for tenant in tenants.values()}
    return gateway


def audit(*options: str) -> Result:
    """Run the command."""
    return CliRunner().invoke(app, ["audit", *options])


def test_sound_books_pass(stack: Gateway) -> None:
    assert audit().exit_code == 0


def test_one_violation_of_one_tenant_fails_the_audit_and_is_shown_with_its_ids(
    stack: Gateway,
) -> None:
    stack.violations["token-of-globex"] = [VIOLATION]

    result = audit("--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"acme": [], "globex": [VIOLATION]}


def test_the_tenants_of_a_load_test_are_audited_as_well(stack: Gateway, tmp_path: Path) -> None:
    loaded = {"slug": "load-001", "token": "token-of-load"}
    write_json(tmp_path / "load.json", {"gateway": stack.url, "tenants": [loaded]})
    stack.violations["token-of-load"] = [VIOLATION]

    result = audit("--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"acme": [], "globex": [], "load-001": [VIOLATION]}


def test_a_tenant_elsewhere_is_audited_by_url_and_token(gateway: Gateway) -> None:
    gateway.violations = {"secret": [VIOLATION]}

    result = audit("--url", f"{gateway.url}/", "--token", "secret", "--json")

    assert result.exit_code == 1
    assert json.loads(result.stdout) == {"tenant": [VIOLATION]}


def test_a_check_that_cannot_be_made_is_no_pass(gateway: Gateway) -> None:
    result = audit("--url", gateway.url, "--token", "unknown")

    assert result.exit_code == 1
    assert "The check answered 401" in result.stderr


def test_without_a_running_stack_it_says_how_to_start_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KV_ERP_DEV_DIR", str(tmp_path))

    result = audit()

    assert result.exit_code == 1
    assert "No stack is running" in result.stderr
