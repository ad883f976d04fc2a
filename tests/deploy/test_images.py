"""The images: built by their own commands, as far as that goes without a Docker engine."""

import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from dockerfiles import Image, stages_of

from common.rpc_testing import free_port
from common.testing import TestServers, servers
from gateway.contract import SERVICES
from ops.urls import with_account, with_database

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "deploy" / "docker" / "Dockerfile"
STAGES = stages_of(DOCKERFILE)
IGNORED = (ROOT / ".dockerignore").read_text().splitlines()

__all__ = ["servers"]


def build(service: str, folder: Path) -> Image:
    """The last stage's image for a service."""
    images: dict[str, Image] = {}
    for number, stage in enumerate(STAGES):
        name = stage.name or "last"
        image = Image(folder / f"{number}-{name}", ROOT, images, {"SERVICE": service})
        image.root.mkdir()
        image.follow(stage)
        images[name] = image
    return images["last"]


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Image:
    return build("sales", tmp_path_factory.mktemp("image"))


def test_the_dockerfile_has_no_known_fault() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")

    done = subprocess.run(
        [hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False
    )

    assert done.stdout == ""
    assert done.returncode == 0


def test_what_is_copied_is_sent_to_the_builder() -> None:
    sent = [line[1:] for line in IGNORED if line.startswith("!")]
    copied = [
        name
        for stage in STAGES
        for instruction in stage.instructions
        if instruction.name == "COPY" and "--from" not in instruction.arguments
        for name in instruction.arguments.split()[:-1]
    ]

    assert IGNORED[1] == "*"
    for name in copied:
        assert any(name == path or name.startswith(f"{path}/") for path in sent), name


def test_the_dockerfile_knows_every_service() -> None:
    text = DOCKERFILE.read_text()

    for service in SERVICES:
        assert f"COPY services/{service}/pyproject.toml services/{service}/" in text


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_can_send_spans_when_it_is_told_where(service: str) -> None:
    package = tomllib.loads((ROOT / "services" / service / "pyproject.toml").read_text())

    assert "kv-erp[tracing]" in package["project"]["dependencies"]


def test_uv_is_the_one_that_everybody_uses() -> None:
    pinned = "uv==0.13.9"

    assert pinned in DOCKERFILE.read_text()
    assert pinned in (ROOT / "Makefile").read_text()


@pytest.mark.long
def test_an_image_holds_its_service_and_nothing_else(sales: Image) -> None:
    code = {path.name for path in (sales.root / "app" / "code").iterdir()}
    packages = next((sales.root / "app").glob("lib/python*/site-packages"))

    assert code == {"common", "sales", "erp", "buf"}
    # What only the gateway, development or the making of protos needs.
    unwanted = {"uvicorn", "starlette", "argon2", "grpc_tools", "pytest", "uv", "pip"}
    assert not unwanted & {path.name for path in packages.iterdir()}
    assert not list((sales.root / "app").rglob("tests/conftest.py"))


@pytest.mark.long
def test_a_container_is_nobody_and_is_stopped_gently(sales: Image) -> None:
    user, _, group = sales.settings["USER"].partition(":")

    assert int(user) > 0 < int(group)
    assert sales.settings["STOPSIGNAL"] == "SIGTERM"
    assert 'title="kv-erp-sales"' in sales.settings["LABEL"]
    assert sales.settings["ENTRYPOINT"] == '["service"]'


@pytest.fixture
def environment(sales: Image, servers: TestServers) -> dict[str, str]:
    """A container's environment; its database is migrated by the image itself."""

    def url(kind: str) -> str:
        role = f"sales_{kind}"
        database = with_database(servers.postgres.superuser_url, "sales")
        return with_account(database, role, servers.credentials.role_password(role))

    migration = sales.run(["service", "migrate"], KV_ERP_MIGRATION_DATABASE_URL=url("owner"))
    assert migration.wait(60) == 0
    return {
        "DATABASE_URL": url("app"),
        "KV_ERP_SYSTEM_DATABASE_URL": url("system"),
        "REDIS_URL": servers.valkey.url,
        "KV_ERP_GRPC_BIND": f"127.0.0.1:{free_port()}",
        "KV_ERP_HEALTH_BIND": f"127.0.0.1:{free_port()}",
        "KV_ERP_IDENTITY_KEY": servers.credentials.identity_key("sales"),
        "KV_ERP_IDENTITY_TRUSTED_KEYS": servers.credentials.trusted_keys(),
        **{f"KV_ERP_{name.upper()}_TARGET": "127.0.0.1:1" for name in SERVICES},
    }


@pytest.mark.long
@pytest.mark.parametrize("command", ["server", "worker"])
def test_the_service_of_an_image_starts_is_healthy_and_stops(
    sales: Image, environment: dict[str, str], command: str
) -> None:
    process = sales.run(["service", command], **environment)
    try:
        probe = ["python", "-m", "common.probe"]
        asked = 0
        while sales.run(probe, **environment).wait() != 0:
            asked += 1
            assert process.poll() is None
            assert asked < 60
        process.send_signal(signal.SIGTERM)

        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()

    assert sales.run(probe, **environment).wait() == 1


@pytest.mark.long
@pytest.mark.parametrize("service", [name for name in SERVICES if name != "sales"])
def test_every_other_image_builds_and_explains_itself(service: str, tmp_path: Path) -> None:
    image = build(service, tmp_path)

    assert image.run(["service", "--help"]).wait(60) == 0
