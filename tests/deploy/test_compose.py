"""The compose file, as far as that goes without a Docker engine."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from compose_spec.models import ComposeSpecification, Service
from pydantic import ValidationError
from typer.testing import CliRunner

from common.settings import load_settings
from gateway.contract import SERVICES
from ops.credentials import DATABASES, ROLE_KINDS
from ops.main import app
from ops.postgres import UNSYNCED, EmbeddedPostgres, postgres_binary
from ops.urls import with_account, with_database

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "deploy" / "docker" / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
CONTAINERS = COMPOSE["services"]
OURS = {name: one for name, one in CONTAINERS.items() if one["image"].startswith("kv-erp-")}
REFERENCE = re.compile(r"\$\{(\w+):\?\}")


@pytest.fixture(scope="module")
def secrets() -> dict[str, str]:
    """What `kv-erp secrets env` prints."""
    lines = CliRunner().invoke(app, ["secrets", "env"]).output.splitlines()
    return dict(line.split("=", 1) for line in lines)


def test_it_follows_the_specification() -> None:
    known = {field.alias or name for name, field in Service.model_fields.items()}

    ComposeSpecification.model_validate(COMPOSE)

    # Which of a container's words mean nothing, the model does not say.
    for container in CONTAINERS.values():
        assert container.keys() <= known
    with pytest.raises(ValidationError):
        ComposeSpecification.model_validate({"services": {"sales": {"depends_on": 5}}})


def test_every_secret_is_made_by_the_command_and_used(secrets: dict[str, str]) -> None:
    assert set(REFERENCE.findall(TEXT)) == set(secrets)


def test_every_service_has_a_server_a_migration_and_workers() -> None:
    for service in SERVICES:
        assert {service, f"{service}-migrate", f"{service}-worker"} <= set(OURS)


def test_everything_waits_for_what_it_needs() -> None:
    for service in SERVICES:
        migrate = OURS[f"{service}-migrate"]["depends_on"]
        assert migrate == {"postgres": {"condition": "service_healthy"}}
        needed = OURS[service]["depends_on"]
        assert needed[f"{service}-migrate"]["condition"] == "service_completed_successfully"
    for container in CONTAINERS.values():
        for name, on in container.get("depends_on", {}).items():
            if on["condition"] == "service_healthy":
                # Ours have the health check of their image.
                assert "healthcheck" in CONTAINERS[name] or name in SERVICES


@pytest.mark.parametrize("name", OURS)
def test_every_container_understands_its_environment(name: str, secrets: dict[str, str]) -> None:
    container = OURS[name]
    environment = {
        key: REFERENCE.sub(lambda found: secrets[found[1]], value)
        for key, value in container["environment"].items()
    }

    settings = load_settings(environment)

    assert environment["DB_DATABASE"] == container["image"].removeprefix("kv-erp-")
    if container.get("command") == ["migrate"]:
        assert settings.need_secret("migration_database_url")
    else:
        assert all(settings.need_target(service) for service in SERVICES)
        assert settings.need_secret("system_database_url")


@pytest.mark.parametrize("name", OURS)
def test_no_container_of_ours_has_a_privilege(name: str) -> None:
    container = OURS[name]

    assert container["read_only"] is True
    assert container["cap_drop"] == ["ALL"]
    assert container["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in container


def test_only_this_machine_reaches_it() -> None:
    published = [port for one in CONTAINERS.values() for port in one.get("ports", ())]

    assert published == ["127.0.0.1:8080:8080"]


def test_its_databases_are_closed_to_all_but_their_own_roles(
    tmp_path: Path, secrets: dict[str, str]
) -> None:
    with EmbeddedPostgres(tmp_path / "postgres", settings=UNSYNCED) as postgres:
        path = f"{postgres_binary('psql').parent}:{os.environ['PATH']}"
        server = {"PGHOST": "127.0.0.1", "PGPORT": str(postgres.port), "PGUSER": "postgres"}
        account = {"PGPASSWORD": postgres.password, "PGDATABASE": "postgres"}
        script = ROOT / "deploy" / "postgres" / "databases.sh"

        subprocess.run(
            ["sh", script], env={**secrets, **server, **account, "PATH": path}, check=True
        )

        entered = {
            (role, database)
            for role in (f"{name}_{kind}" for name in DATABASES for kind in ROLE_KINDS)
            for database in DATABASES
            if _enters(postgres, role, secrets[f"{role.upper()}_PASSWORD"], database)
        }
    assert entered == {(f"{name}_{kind}", name) for name in DATABASES for kind in ROLE_KINDS}


def _enters(postgres: EmbeddedPostgres, role: str, password: str, database: str) -> bool:
    url = with_database(with_account(postgres.superuser_url, role, password), database)
    psql = postgres_binary("psql")
    command = [psql, "--no-psqlrc", "--quiet", "--command=SELECT 1", url]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0
