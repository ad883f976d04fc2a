"""Keys in Redis. Whoever needs one names its tenant first, so none can be shared by mistake."""

from uuid import UUID


def tenant_key(prefix: str, tenant_id: UUID, *parts: object) -> str:
    """`prefix:<tenant>:part:…`: the only way to a key that holds something of a tenant's."""
    return ":".join((prefix, str(tenant_id), *map(str, parts)))


def system_key(prefix: str, *parts: object) -> str:
    """`prefix:system:part:…`: for what belongs to no tenant, such as a service's own duties."""
    return ":".join((prefix, "system", *map(str, parts)))
