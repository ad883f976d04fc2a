"""The Helm chart: what it asks Kubernetes for, in every way to run it."""

import re
from importlib import import_module

import helm_python as helm
import pytest
import yaml
from charts import CHART, WAYS, environment_of, render, rendered, values_of
from kubernetes import VERSIONS, problem_of

from common.listening import lanes_of
from common.redis_clients import Role, url_of
from common.settings import load_settings, variables
from gateway.contract import SERVICES

ALL_WAYS = (*WAYS, "everything")
# libpq's own, which no setting of ours repeats.
LIBPQ = {"PGSSLMODE", "PGSSLROOTCERT"}


@pytest.mark.parametrize("way", ALL_WAYS)
def test_helm_finds_nothing_to_object_to(way):
    report = helm.lint(CHART, values_of(way), strict=True, kube_version="v1.34.0")

    assert report["errors"] == []
    assert [one["error"] for one in report["messages"] if one["severity"] > 1] == []


@pytest.mark.parametrize("first", [True, False], ids=["installed", "upgraded"])
@pytest.mark.parametrize("way", ALL_WAYS)
def test_kubernetes_understands_every_resource(way, first):
    problems = {
        f"{one['kind']} {one['metadata']['name']} in {version}": problem
        for one in rendered(way, first=first).resources
        for version in VERSIONS
        if (problem := problem_of(one, version))
    }

    assert problems == {}


@pytest.mark.parametrize("way", ALL_WAYS)
def test_no_two_resources_have_one_name(way):
    names = [(one["kind"], one["metadata"]["name"]) for one in rendered(way).resources]

    assert len(names) == len(set(names))
    assert all(len(name) <= 63 for _, name in names)


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 3},
        {"services": {"sales": {"call": ["inventory"]}}},
        {"server": {"autoscaling": {"maxReplicas": "ten"}}},
        {"postgresql": {"mode": "sqlite"}},
        {"postgresql": {"cluster": {"backup": {"archiveTimeout": "1h"}}}},
        {"workers": {"high": {"queues": []}}},
        {"settings": {"app_env": "production"}},
    ],
)
def test_a_misspelt_value_is_refused(values):
    with pytest.raises(helm.HelmError):
        render(values)


def test_a_server_elsewhere_must_be_named():
    for part in ("postgresql", "redis"):
        with pytest.raises(helm.HelmError, match=f"{part}.external"):
            render({part: {"mode": "external"}})


def test_every_service_is_run():
    assert set(rendered("default").values["services"]) == set(SERVICES)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("service", SERVICES)
def test_somebody_works_on_every_queue_with_a_listener(way, service):
    if service == "gateway":
        return
    wanted = {lane.name for lane in lanes_of(import_module(f"{service}.listeners"))}

    served = {
        argument.removeprefix("--queue=")
        for name, pod in rendered(way).pods()
        if name.startswith(f"Deployment erp-{service}-worker-")
        for argument in pod["spec"]["containers"][0]["args"]
        if argument.startswith("--queue=")
    }

    assert wanted <= served
    assert served >= {"high", "default", "low"}


@pytest.mark.parametrize("way", ALL_WAYS)
def test_every_process_understands_its_environment(way):
    for name, pod in rendered(way).ours():
        environment = environment_of(pod, secret="k:" + "A" * 43 + "=")
        ours = {key: value for key, value in environment.items() if key not in LIBPQ}

        settings = load_settings(ours)

        assert environment.keys() <= LIBPQ | _known(), name
        if name.startswith("Job"):
            assert settings.need_secret("migration_database_url")
            assert settings.database_url is None
        else:
            assert settings.need_secret("database_url")
            assert settings.need_secret("system_database_url")
            assert settings.migration_database_url is None
            assert all(url_of(settings, role) for role in Role)
            assert all(settings.need_target(service) for service in SERVICES)


def _known():
    names = {variable.name for variable in variables().values()}
    return names | {f"DB_READ_HOST_{number}" for number in range(1, 10)}


@pytest.mark.parametrize("way", ALL_WAYS)
def test_no_secret_is_made_or_held_by_the_chart(way):
    release = rendered(way)

    assert release.all("Secret") == []
    for name, pod in release.ours():
        for variable in pod["spec"]["containers"][0]["env"]:
            if re.search("PASSWORD|_KEY$|_KEYS$", variable["name"]):
                source = variable.get("valueFrom", {}).get("secretKeyRef")
                assert source or variable["value"].startswith("/etc/kv-erp/"), name


@pytest.mark.parametrize("way", ALL_WAYS)
def test_no_pod_has_a_privilege(way):
    for name, pod in rendered(way).pods():
        spec = pod["spec"]
        assert spec["automountServiceAccountToken"] is False, name
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["runAsUser"] > 0
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        for volume in spec.get("volumes", ()):
            assert not {"hostPath"} & volume.keys()
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert {"requests", "limits"} <= container["resources"].keys(), name
            assert all("hostPort" not in port for port in container.get("ports", ()))


@pytest.mark.parametrize("way", ALL_WAYS)
def test_every_account_is_there_and_has_no_token(way):
    accounts = {one["metadata"]["name"]: one for one in rendered(way).all("ServiceAccount")}

    for name, pod in rendered(way).pods():
        account = accounts[pod["spec"]["serviceAccountName"]]
        assert account["automountServiceAccountToken"] is False, name


@pytest.mark.parametrize("way", ALL_WAYS)
def test_probes_ask_for_health_that_is_served(way):
    for name, pod in rendered(way).ours():
        if name.startswith("Job"):
            continue
        (container,) = pod["spec"]["containers"]
        health = environment_of(pod)["KV_ERP_HEALTH_BIND"].rpartition(":")[2]
        for probe in ("startupProbe", "livenessProbe"):
            assert container[probe]["grpc"] == {"port": int(health), "service": "liveness"}
        if name == "Deployment erp-gateway":
            assert container["readinessProbe"]["httpGet"]["path"] == "/api/health/ready"
        else:
            assert container["readinessProbe"]["grpc"] == {
                "port": int(health),
                "service": "readiness",
            }


@pytest.mark.parametrize("way", ALL_WAYS)
def test_kubernetes_waits_until_a_process_has_finished(way):
    for _, pod in rendered(way).ours():
        environment = environment_of(pod)
        if "KV_ERP_DRAIN_WAIT_SECONDS" in environment:
            drained = float(environment["KV_ERP_DRAIN_WAIT_SECONDS"])
            finished = drained + float(environment["KV_ERP_SHUTDOWN_GRACE_SECONDS"])
            assert pod["spec"]["terminationGracePeriodSeconds"] >= finished + 10


def test_everything_scales_from_three_to_ten_by_cpu_and_memory():
    scalers = rendered("production").all("HorizontalPodAutoscaler")
    deployments = rendered("production").all("Deployment")

    assert {one["spec"]["scaleTargetRef"]["name"] for one in scalers} == {
        one["metadata"]["name"] for one in deployments
    }
    for one in scalers:
        assert (one["spec"]["minReplicas"], one["spec"]["maxReplicas"]) == (3, 10)
        metrics = {
            metric["resource"]["name"]: metric["resource"]["target"]["averageUtilization"]
            for metric in one["spec"]["metrics"]
            if metric["type"] == "Resource"
        }
        assert metrics == {"cpu": 70, "memory": 80}
    # What scales by itself is not told how many it is.
    assert all("replicas" not in one["spec"] for one in deployments)


def test_workers_scale_by_the_age_of_their_own_queues():
    low = rendered("production").one("HorizontalPodAutoscaler", "erp-sales-worker-low")
    server = rendered("production").one("HorizontalPodAutoscaler", "erp-sales")

    (metric,) = (one["external"] for one in low["spec"]["metrics"] if one["type"] == "External")
    assert metric["metric"]["selector"] == {"matchLabels": {"service": "sales", "queue": "low"}}
    assert [one for one in server["spec"]["metrics"] if one["type"] == "External"] == []


def test_what_comes_in_several_is_spread_and_never_evicted_together():
    release = rendered("production")
    selectors = [one["spec"]["selector"] for one in release.all("PodDisruptionBudget")]

    for one in (*release.all("Deployment"), *release.all("StatefulSet")):
        assert one["spec"]["selector"] in selectors, one["metadata"]["name"]
        spread = one["spec"]["template"]["spec"]["topologySpreadConstraints"]
        assert "kubernetes.io/hostname" in [each["topologyKey"] for each in spread]
        assert all(each["labelSelector"] == one["spec"]["selector"] for each in spread)


def test_callers_see_every_pod_of_a_service():
    for service in SERVICES:
        one = rendered("default").one("Service", f"erp-{service}")
        pods = rendered("default").one("Deployment", f"erp-{service}")["spec"]["template"]
        assert one["spec"]["clusterIP"] == "None"
        assert one["spec"]["selector"].items() <= pods["metadata"]["labels"].items()
        for _, pod in rendered("default").ours():
            target = environment_of(pod).get(f"KV_ERP_{service.upper()}_TARGET")
            assert target in (None, f"dns:///erp-{service}.prod.svc.cluster.local:5001")


def test_every_certificate_bears_the_name_that_callers_check():
    release = rendered("production")

    for service in SERVICES:
        certificate = release.one("Certificate", f"erp-{service}")["spec"]
        assert service in certificate["dnsNames"]
        assert {"server auth", "client auth"} <= set(certificate["usages"])
    for name, pod in release.ours():
        if not name.startswith("Job"):
            secrets = [one.get("secret", {}).get("secretName") for one in pod["spec"]["volumes"]]
            labels = pod["metadata"]["labels"]
            assert f"erp-{labels['app.kubernetes.io/name']}-tls" in secrets


def test_an_issuer_of_the_companys_own_is_used_instead():
    release = rendered("everything")

    assert release.all("Issuer") == []
    for one in release.all("Certificate"):
        assert one["spec"]["issuerRef"] == {"kind": "ClusterIssuer", "name": "company"}


@pytest.mark.parametrize("way", ALL_WAYS)
def test_prometheus_finds_every_process(way):
    services = rendered(way).all("Service")

    for name, pod in rendered(way).ours():
        if name.startswith("Job"):
            continue
        assert any(
            one["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
            and "metrics" in [port["name"] for port in one["spec"]["ports"]]
            for one in services
        ), name


def test_the_alerts_are_the_ones_that_are_tested():
    rules = CHART / "files" / "alerts.yaml"
    if not rules.exists():
        assert rendered("production").all("PrometheusRule") == []
        return
    (rule,) = rendered("production").all("PrometheusRule")

    assert rule["spec"] == yaml.safe_load(rules.read_text())
