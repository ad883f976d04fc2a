"""The Helm chart: migrations, PostgreSQL, Redis."""

import re

import pytest
from charts import environment_of, render, rendered

from common.settings import Settings
from gateway.contract import SERVICES
from ops.credentials import DATABASES, ROLE_KINDS


def hook(resource):
    annotations = resource["metadata"].get("annotations", {})
    return annotations.get("helm.sh/hook"), int(annotations.get("helm.sh/hook-weight", 0))


def jobs(release):
    return {one["metadata"]["name"]: one for one in release.all("Job")}


@pytest.mark.parametrize("way", ["default", "everything"])
def test_databases_are_migrated_before_new_processes_come(way):
    release = rendered(way)

    assert set(jobs(release)) == {f"erp-{service}-migration" for service in SERVICES}
    for job in jobs(release).values():
        when, weight = hook(job)
        assert when == "pre-install,pre-upgrade"
        # What it needs is there before it, since hooks come before all else.
        account = job["spec"]["template"]["spec"]["serviceAccountName"]
        for needed in (
            release.one("ServiceAccount", account),
            release.one("NetworkPolicy", account),
        ):
            assert hook(needed)[0] == when
            assert hook(needed)[1] < weight
        volumes = job["spec"]["template"]["spec"]["volumes"]
        assert not any("configMap" in volume for volume in volumes)


def test_the_first_time_they_wait_for_the_postgresql_that_comes_with_the_chart():
    release = rendered("default", first=True)

    assert set(jobs(release)) == {f"erp-{service}-migration-first" for service in SERVICES}
    for job in jobs(release).values():
        assert hook(job)[0] is None
        assert job["spec"]["backoffLimit"] >= 10


def test_the_first_time_a_postgresql_of_yours_is_migrated_before():
    for job in jobs(rendered("everything", first=True)).values():
        assert hook(job)[0] == "pre-install,pre-upgrade"


@pytest.mark.parametrize("way", ["default", "production"])
def test_there_is_a_database_and_three_roles_for_every_service(way):
    release = rendered(way)
    (cluster,) = release.all("Cluster")
    databases = {one["spec"]["name"]: one["spec"] for one in release.all("Database")}
    roles = {one["name"]: one for one in cluster["spec"]["managed"]["roles"]}

    assert set(databases) == set(DATABASES)
    assert set(roles) == {f"{name}_{kind}" for name in DATABASES for kind in ROLE_KINDS}
    for name, database in databases.items():
        assert database["owner"] == f"{name}_owner"
        assert database["cluster"]["name"] == cluster["metadata"]["name"]
        assert database["databaseReclaimPolicy"] == "retain"
    assert all("superuser" not in role for role in roles.values())


@pytest.mark.parametrize("service", DATABASES)
def test_only_a_services_own_roles_enter_its_database(service):
    (cluster,) = rendered("default").all("Cluster")
    rules = [line.split() for line in cluster["spec"]["postgresql"]["pg_hba"]]

    mine = [rule for rule in rules if rule[1] == service]

    roles = ",".join(f"{service}_{kind}" for kind in ROLE_KINDS)
    assert mine == [
        ["hostssl", service, roles, "all", "scram-sha-256"],
        ["host", service, "all", "all", "reject"],
    ]


def test_an_account_is_that_of_the_database_it_enters():
    for name, pod in rendered("default").ours():
        service = pod["metadata"]["labels"]["app.kubernetes.io/name"]
        assert environment_of(pod)["DB_DATABASE"] == service, name
        for variable in pod["spec"]["containers"][0]["env"]:
            if re.fullmatch("DB_.*(USERNAME|PASSWORD)", variable["name"]):
                secret = variable["valueFrom"]["secretKeyRef"]["name"]
                assert secret.startswith(f"kv-erp-db-{service}-")
                assert secret.endswith("-owner") == name.startswith("Job")


def test_production_keeps_every_commit_twice_and_backs_up_daily():
    release = rendered("production")
    (cluster,), (backup,), (store,) = map(
        release.all, ("Cluster", "ScheduledBackup", "ObjectStore")
    )
    spec = cluster["spec"]

    assert spec["instances"] >= 3
    assert spec["postgresql"]["synchronous"]["number"] >= 1
    minutes = re.fullmatch(r"(\d+)min", spec["postgresql"]["parameters"]["archive_timeout"])
    assert int(minutes[1]) <= 15
    (plugin,) = spec["plugins"]
    assert plugin["isWALArchiver"] is True
    assert plugin["parameters"]["barmanObjectName"] == store["metadata"]["name"]
    assert backup["spec"]["cluster"]["name"] == cluster["metadata"]["name"]
    # Every day, at a fixed second, minute and hour.
    second, minute, hour, *rest = backup["spec"]["schedule"].split()
    assert (second.isdecimal(), minute.isdecimal(), hour.isdecimal(), rest) == (
        True,
        True,
        True,
        ["*", "*", "*"],
    )


def test_uninstalling_keeps_the_data():
    for kind in ("Cluster", "Database", "ObjectStore"):
        for one in rendered("production").all(kind):
            assert one["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_reads_go_to_replicas_where_there_are_some():
    for way, expected in (("default", "erp-postgres-ro"), ("small", None)):
        pod = rendered(way).one("Deployment", "erp-sales")["spec"]["template"]
        assert environment_of(pod).get("DB_READ_HOST_1") == expected


@pytest.mark.parametrize("way", ["default", "small", "production"])
def test_the_connections_of_all_processes_fit_into_postgresql_at_full_scale(way):
    release = rendered(way)
    (cluster,) = release.all("Cluster")
    most = {
        one["metadata"]["name"]: one["spec"]["maxReplicas"]
        for one in release.all("HorizontalPodAutoscaler")
    }

    processes = sum(
        most.get(one["metadata"]["name"]) or one["spec"]["replicas"]
        for one in release.all("Deployment")
    )

    # Eight of the application's and two of the system's in each.
    settings = Settings()
    connections = processes * (settings.database_pool + 2)
    assert connections < int(cluster["spec"]["postgresql"]["parameters"]["max_connections"])


def test_redis_is_found_by_its_sentinels():
    (redis,) = rendered("default").all("StatefulSet")
    pod = rendered("default").one("Deployment", "erp-sales")["spec"]["template"]
    names = [f"erp-redis-{number}.{redis['spec']['serviceName']}" for number in range(3)]

    assert redis["spec"]["replicas"] == 3
    assert environment_of(pod)["REDIS_URL"] == (
        f"redis+sentinel://{','.join(f'{name}:26379' for name in names)}/kv-erp/0"
    )


def test_redis_writes_what_it_holds_and_throws_nothing_away():
    scripts = rendered("default").one("ConfigMap", "erp-redis")["data"]

    for line in ("appendonly yes", "save 3600 1", "maxmemory-policy noeviction"):
        assert line in scripts["start-server.sh"]


def test_redis_of_yours_makes_none():
    assert (
        render({"redis": {"mode": "external", "external": {"url": "redis://r/0"}}}).all(
            "StatefulSet"
        )
        == []
    )
