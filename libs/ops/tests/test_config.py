"""The environment as the services would read it."""

import json

import pytest
from typer.testing import CliRunner

from ops.main import app


def test_values_are_shown_and_secrets_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://sales_app:hush@db/sales")
    monkeypatch.setenv("KV_ERP_DATABASE_POOL", "12")

    done = CliRunner().invoke(app, ["config", "check", "--json"])

    rows = {row["name"]: row for row in json.loads(done.stdout)}
    assert done.exit_code == 0
    assert rows["KV_ERP_DATABASE_POOL"]["value"] == "12"
    assert rows["KV_ERP_DATABASE_POOL"]["origin"] == "environment"
    assert rows["DATABASE_URL"]["value"] == "(set, not shown)"
    assert "hush" not in done.stdout


def test_what_would_stop_a_process_is_said_in_sentences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KV_ERP_DATABSE_POOL", "12")
    monkeypatch.setenv("KV_ERP_REPLICA_LAG_SECONDS", "soon")

    done = CliRunner().invoke(app, ["config", "check"])

    assert done.exit_code == 78
    assert "Did you mean KV_ERP_DATABASE_POOL?" in done.stderr
    assert "KV_ERP_REPLICA_LAG_SECONDS" in done.stderr
