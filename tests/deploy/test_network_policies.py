"""The NetworkPolicies are the arrows of the design, no more and no less."""

import re
from importlib import import_module
from pathlib import Path

import pytest
from arrows import may_speak
from charts import rendered

from common.listening import lanes_of
from gateway.contract import SERVICES

ROOT = Path(__file__).parents[2]
GRPC, HTTP, METRICS, POSTGRES, REDIS, SENTINEL = 5001, 8080, 9464, 5432, 6379, 26379
PORTS = (GRPC, 5002, HTTP, METRICS, POSTGRES, REDIS, SENTINEL)
CLUSTER = {"cnpg.io/cluster": "erp-postgres"}


def pods():
    """The labels of every kind of pod, by (service, part)."""
    found = {("postgres", "postgres"): CLUSTER}
    for _, pod in rendered("default").pods():
        labels = pod["metadata"]["labels"]
        key = (labels["app.kubernetes.io/name"], labels["app.kubernetes.io/component"])
        found[key] = labels
    return found


def called_by(service):
    """Whom the code of a service's server calls: the gateway, and whom it opens channels to."""
    if service == "gateway":
        return set(SERVICES) - {"gateway"}
    source = (ROOT / "services" / service / "app.py").read_text()
    return {"gateway", *re.findall(r'\.channel\("(\w+)"', source)}


def followed_by(service):
    """Whom a service's workers follow, and the gateway, which they tell."""
    return {"gateway"} | {lane.source for lane in lanes_of(import_module(f"{service}.listeners"))}


def arrows():
    """Who speaks to whom on which port, from the code and the design."""
    data = {(("postgres", "postgres"), POSTGRES)} | {
        (("redis", "redis"), port) for port in (REDIS, SENTINEL)
    }
    for service in SERVICES:
        for target, port in data:
            yield (service, "server"), target, port
        yield (service, "migration"), ("postgres", "postgres"), POSTGRES
        for other in called_by(service):
            yield (service, "server"), (other, "server"), GRPC
        for target, port in data:
            yield (service, "worker"), target, port
        for other in followed_by(service):
            yield (service, "worker"), (other, "server"), GRPC
    # Redis's members among themselves; PostgreSQL's are the operator's.
    for port in (REDIS, SENTINEL):
        yield ("redis", "redis"), ("redis", "redis"), port


def allowed():
    """Who may speak to whom, as the policies say."""
    policies = rendered("default").all("NetworkPolicy")
    found = pods()
    for one, labels in found.items():
        if one == ("postgres", "postgres"):
            continue
        for other, others in found.items():
            for port in PORTS:
                if may_speak(policies, labels, others, port):
                    yield one, other, port


def test_the_policies_are_the_arrows():
    # From inside nobody needs the gateway's HTTP; it is open to whoever the operator names.
    inside = {arrow for arrow in allowed() if arrow[2] != HTTP}

    assert inside == set(arrows())


@pytest.mark.parametrize("way", ["default", "small", "production", "test", "everything"])
def test_every_pod_of_ours_is_closed_unless_it_is_opened(way):
    release = rendered(way)
    default = release.one("NetworkPolicy", "erp-default")["spec"]

    assert default["policyTypes"] == ["Ingress", "Egress"]
    assert not {"ingress", "egress"} & default.keys()
    for name, pod in release.pods():
        labels = pod["metadata"]["labels"]
        assert default["podSelector"]["matchLabels"].items() <= labels.items(), name


def test_everybody_may_look_up_names():
    for policy in rendered("default").all("NetworkPolicy"):
        egress = policy["spec"].get("egress")
        if egress:
            ports = {(one["protocol"], one["port"]) for one in egress[0]["ports"]}
            assert ports == {("UDP", 53), ("TCP", 53)}


def test_metrics_are_read_from_where_prometheus_is_and_nowhere_else():
    for policy in rendered("default").all("NetworkPolicy"):
        for rule in policy["spec"].get("ingress", ()):
            if METRICS in [port["port"] for port in rule["ports"]]:
                assert rule["from"] == [
                    {
                        "namespaceSelector": {
                            "matchLabels": {"kubernetes.io/metadata.name": "monitoring"}
                        }
                    }
                ]


def test_only_the_ingress_reaches_the_gateway_in_production():
    policy = rendered("production").one("NetworkPolicy", "erp-gateway")["spec"]

    (rule,) = (one for one in policy["ingress"] if one["ports"][0]["port"] == HTTP)
    assert rule["from"][0]["namespaceSelector"]["matchLabels"] == {
        "kubernetes.io/metadata.name": "ingress-nginx"
    }


def test_servers_elsewhere_are_reached_at_their_addresses_only():
    policy = rendered("everything").one("NetworkPolicy", "erp-sales")["spec"]

    by_port = {rule["ports"][0]["port"]: rule.get("to") for rule in policy["egress"]}
    assert by_port[POSTGRES] == [{"ipBlock": {"cidr": "10.1.0.0/16"}}]
    assert by_port[REDIS] == [{"ipBlock": {"cidr": "10.2.0.0/16"}}]
    assert by_port[443] is None
