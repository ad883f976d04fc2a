"""The secrets that a new installation starts with."""

import json

import pytest
from charts import WAYS, environment_of, rendered
from typer.testing import CliRunner

from common.identity import minter_of, verifier_of
from common.settings import load_settings
from ops.main import app

# Of the registry, the ingress, the certificates and the object store: others make them.
OTHERS = {"kv-erp-backup", "kv-erp-ingress-tls"}


@pytest.fixture(scope="module")
def secrets():
    """What `kv-erp secrets kubernetes` prints, by name."""
    output = CliRunner().invoke(app, ["secrets", "kubernetes"]).output
    return {one["metadata"]["name"]: one for one in json.loads(output)["items"]}


@pytest.mark.parametrize("way", WAYS)
def test_every_secret_that_the_chart_names_is_made_and_used(secrets, way):
    named = set()
    for _, pod in rendered(way).pods():
        for container in pod["spec"]["containers"]:
            for variable in container["env"]:
                if source := variable.get("valueFrom", {}).get("secretKeyRef"):
                    assert source["key"] in secrets[source["name"]]["stringData"]
                    named.add(source["name"])
    for cluster in rendered(way).all("Cluster"):
        for role in cluster["spec"]["managed"]["roles"]:
            secret = secrets[role["passwordSecret"]["name"]]
            assert secret["stringData"]["username"] == role["name"]
            assert secret["type"] == "kubernetes.io/basic-auth"
            named.add(secret["metadata"]["name"])

    assert named - OTHERS == set(secrets)


def test_the_services_believe_each_other(secrets):
    identities = secrets["kv-erp-identity"]["stringData"]
    environment = environment_of(
        rendered("default").one("Deployment", "erp-sales")["spec"]["template"]
    )
    settings = load_settings(
        {
            **{name: value for name, value in environment.items() if value and "PG" not in name},
            "KV_ERP_IDENTITY_KEY": identities["sales"],
            "KV_ERP_IDENTITY_TRUSTED_KEYS": identities["trusted-keys"],
            **dict.fromkeys(("DB_USERNAME", "DB_SYSTEM_USERNAME"), "sales"),
        }
    )

    assert minter_of(settings)
    assert verifier_of(settings, "gateway")
    assert secrets["kv-erp-session"]["stringData"]["session-key"].startswith("local:")


def test_no_two_installations_share_a_secret():
    first, second = (CliRunner().invoke(app, ["secrets", "env"]).output for _ in range(2))

    assert not set(first.splitlines()) & set(second.splitlines())
