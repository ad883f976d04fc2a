"""What Kubernetes would say to a resource, from its own schemas, and of an operator's from ours."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from jsonschema import Draft202012Validator
from kubernetes_validate import utils
from referencing import Registry, Resource

VERSIONS = ("1.32", "1.34", "1.37")


def _of(required: str, optional: str = "", **types: Any) -> dict[str, Any]:
    """A schema of an object that has these fields and no others."""
    names = [*required.split(), *optional.split()]
    properties = {name: types.get(name, {}) for name in names}
    return {
        "type": "object",
        "required": required.split(),
        "properties": properties,
        "additionalProperties": False,
    }


_NAME = _of("name")
_COUNT = {"type": "integer", "minimum": 1}
# The specs of custom resources, as far as we use them: the operators' own references tell the
# rest. Written by hand, since their definitions are in no package.
_SPECS = {
    "postgresql.cnpg.io/v1 Cluster": _of(
        "instances imageName bootstrap storage postgresql managed",
        "walStorage primaryUpdateStrategy resources affinity plugins",
        instances=_COUNT,
        bootstrap=_of(
            "initdb",
            initdb=_of("database owner", "encoding localeProvider builtinLocale dataChecksums"),
        ),
        storage=_of("size", "storageClass"),
        walStorage=_of("size", "storageClass"),
        affinity=_of("enablePodAntiAffinity topologyKey podAntiAffinityType"),
        postgresql=_of(
            "parameters pg_hba",
            "synchronous",
            parameters={"type": "object", "additionalProperties": {"type": "string"}},
            pg_hba={"type": "array", "items": {"type": "string"}},
            synchronous=_of("method number", "dataDurability", number=_COUNT),
        ),
        managed=_of(
            "roles",
            roles={
                "type": "array",
                "items": _of("name ensure login passwordSecret", passwordSecret=_NAME),
            },
        ),
        plugins={"type": "array", "items": _of("name", "isWALArchiver parameters")},
    ),
    "postgresql.cnpg.io/v1 Database": _of(
        "cluster name owner",
        "template encoding localeProvider builtinLocale databaseReclaimPolicy",
        cluster=_NAME,
    ),
    "postgresql.cnpg.io/v1 ScheduledBackup": _of(
        "schedule cluster method pluginConfiguration",
        "immediate backupOwnerReference",
        schedule={"type": "string", "pattern": r"^(\S+ ){5}\S+$"},
        cluster=_NAME,
        pluginConfiguration=_NAME,
    ),
    "barmancloud.cnpg.io/v1 ObjectStore": _of(
        "configuration",
        "retentionPolicy",
        retentionPolicy={"type": "string", "pattern": "^[1-9][0-9]*[dwm]$"},
        configuration=_of("destinationPath s3Credentials", "endpointURL wal data"),
    ),
    "cert-manager.io/v1 Issuer": _of("", "selfSigned ca", ca=_of("secretName")),
    "cert-manager.io/v1 Certificate": _of(
        "secretName issuerRef",
        "isCA commonName dnsNames duration renewBefore usages privateKey",
        commonName={"type": "string", "maxLength": 64},
        issuerRef=_of("kind name"),
        privateKey=_of("algorithm size", "rotationPolicy"),
    ),
    "monitoring.coreos.com/v1 ServiceMonitor": _of("selector endpoints", "targetLabels"),
    "monitoring.coreos.com/v1 PodMonitor": _of("selector podMetricsEndpoints"),
    "monitoring.coreos.com/v1 PrometheusRule": _of("groups"),
}


def problem_of(resource: Mapping[str, Any], version: str) -> str | None:
    """What is wrong with a resource in the eyes of a version of Kubernetes."""
    spec = _SPECS.get(f"{resource['apiVersion']} {resource['kind']}")
    if spec is not None:
        validator, checked = Draft202012Validator(spec), resource["spec"]
    else:
        validator, checked = _validator(resource["apiVersion"], resource["kind"], version), resource
    error = next(iter(validator.iter_errors(checked)), None)
    return f"{error.json_path}: {error.message}" if error else None


@cache
def _validator(api_version: str, kind: str, version: str) -> Draft202012Validator:
    group, _, number = api_version.rpartition("/")
    name = "-".join(filter(None, (kind.lower(), group.partition(".")[0], number)))
    folder = f"kubernetes-json-schema/v{version}.0-local-strict"
    schema = utils.schema_contents(f"{folder}/{name}.json", version)
    return Draft202012Validator(schema, registry=_definitions(folder, version))


@cache
def _definitions(folder: str, version: str) -> Registry[Any]:
    contents = utils.schema_contents(f"{folder}/_definitions.json", version)
    return Resource.from_contents(contents) @ Registry()
