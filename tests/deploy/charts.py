"""The Helm chart, rendered without a cluster."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import helm_python as helm
import yaml

CHART = Path(__file__).parents[2] / "deploy" / "helm" / "kv-erp"
# Ways to run it: the file of values for each, None for the chart's own.
WAYS = {"default": None, "small": "small", "production": "production", "test": "test"}
# Every part that a value turns on.
EVERYTHING = {
    "workers": {"all": {"enabled": True}},
    "image": {"pullSecrets": ["registry"], "registry": "registry.example.com"},
    "server": {"egress": [{"ports": [{"port": 443}]}], "nodeSelector": {"pool": "erp"}},
    "services": {
        "sales": {
            "settings": {
                "MAIL_HOST": "mail.example.com",
                "MAIL_USERNAME": "erp",
                "MAIL_FROM_ADDRESS": "erp@example.com",
            },
            "secretSettings": {"MAIL_PASSWORD": {"secret": "mail", "key": "password"}},
            "workers": {"high": {"egress": [{"ports": [{"port": 587}]}]}},
        }
    },
    "postgresql": {
        "mode": "external",
        "external": {
            "host": "db.example.com",
            "readHosts": ["db-2.example.com", "db-3.example.com:5433"],
            "sslMode": "verify-full",
            "caSecret": "db-ca",
            "cidrs": ["10.1.0.0/16"],
        },
    },
    "redis": {
        "mode": "external",
        "external": {"url": "rediss://redis:6379/0", "cidrs": ["10.2.0.0/16"]},
    },
    "ingress": {"enabled": True, "host": "erp.example.com"},
    "mtls": {
        "enabled": True,
        "issuer": {"create": False, "name": "company", "kind": "ClusterIssuer"},
    },
    "monitoring": {"serviceMonitor": {"enabled": True}, "rules": {"enabled": True}},
}


@dataclass(frozen=True)
class Release:
    """What one way of running it asks Kubernetes for."""

    resources: list[dict[str, Any]]
    values: Mapping[str, Any]

    def all(self, kind: str) -> list[dict[str, Any]]:
        """The resources of a kind."""
        return [one for one in self.resources if one["kind"] == kind]

    def one(self, kind: str, name: str) -> dict[str, Any]:
        """The resource of this kind and name."""
        (found,) = (one for one in self.all(kind) if one["metadata"]["name"] == name)
        return found

    def pods(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Every pod's template, by kind and name of what makes it."""
        for kind in ("Deployment", "StatefulSet", "Job"):
            for one in self.all(kind):
                yield f"{kind} {one['metadata']['name']}", one["spec"]["template"]

    def ours(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The pods that run our own images."""
        return ((name, pod) for name, pod in self.pods() if name != "StatefulSet erp-redis")


def values_of(way: str) -> dict[str, Any]:
    """What a file of values says."""
    if way == "everything":
        return EVERYTHING
    name = WAYS[way]
    return yaml.safe_load((CHART / f"values-{name}.yaml").read_text()) if name else {}


@cache
def rendered(way: str, *, first: bool = False) -> Release:
    """The release `erp` in the namespace `prod`; `first`: when it is installed, not upgraded."""
    return render(values_of(way), first=first)


def render(values: dict[str, Any], *, first: bool = False) -> Release:
    """The release that these values make."""
    with helm.Chart.load(CHART) as chart:
        files = chart.render(
            values, name="erp", namespace="prod", is_install=first, is_upgrade=not first
        )
        merged = chart.merge_values(values)
    manifests = [text for name, text in files.items() if name.endswith(".yaml")]
    found = [one for text in manifests for one in yaml.safe_load_all(text) if one]
    return Release(found, merged)


def environment_of(pod: Mapping[str, Any], secret: str = "") -> dict[str, str]:
    """The environment of the pod's first container; what is in secrets reads `secret`."""
    found = {}
    for variable in pod["spec"]["containers"][0]["env"]:
        found[variable["name"]] = variable.get("value", secret)
    return found
