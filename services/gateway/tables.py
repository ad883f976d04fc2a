"""The gateway's tables, as the migrations made them."""

from sqlalchemy import Column, DateTime, LargeBinary, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from common.schema import id_column, tenant_table, version_columns

metadata = MetaData()


def moment(name: str, *, optional: bool = False) -> Column[object]:
    """A time; now unless it is said or optional."""
    default = None if optional else func.now()
    kind = DateTime(timezone=True)
    return Column(name, kind, nullable=optional, server_default=default)


tenants = Table(
    "tenants",
    metadata,
    Column("id", UUID(as_uuid=True), primary_key=True),
    Column("slug", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("currency_code", Text, nullable=False),
    Column("plan", Text, nullable=False),
    # "active", "suspended", or "deleted": then nothing but this row is left, without a name.
    Column("state", Text, nullable=False, server_default="active"),
    *version_columns(),
)

users = tenant_table(
    "users",
    metadata,
    id_column(),
    Column("email", Text, nullable=False),
    Column("name", Text, nullable=False, server_default=""),
    # "invited" until there is a password, "active", or "deactivated".
    Column("state", Text, nullable=False, server_default="active"),
    Column("password_hash", Text),
    # SHA-256 of the token with which they may choose a password, once.
    Column("setup_hash", LargeBinary),
    moment("setup_expires_at", optional=True),
    *version_columns(),
)

roles = tenant_table(
    "roles",
    metadata,
    id_column(),
    Column("name", Text, nullable=False),
    Column("description", Text, nullable=False, server_default=""),
    # Which of gateway.built_in_roles it is, whose permissions are not stored.
    Column("built_in", Text),
    Column("permissions", ARRAY(Text), nullable=False, server_default="{}"),
    *version_columns(),
)

user_roles = tenant_table(
    "user_roles",
    metadata,
    Column("user_id", UUID(as_uuid=True), primary_key=True),
    Column("role_id", UUID(as_uuid=True), primary_key=True),
)

api_tokens = tenant_table(
    "api_tokens",
    metadata,
    id_column(),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    Column("prefix", Text, nullable=False),
    Column("permissions", ARRAY(Text), nullable=False),
    Column("created_by", Text, nullable=False),
    # The user who made it, whose permissions bound it; absent when no user did.
    Column("user_id", UUID(as_uuid=True)),
    moment("expires_at", optional=True),
    moment("revoked_at", optional=True),
    moment("created_at"),
)

operator_actions = tenant_table(
    "operator_actions",
    metadata,
    id_column(),
    Column("operator", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("request_id", Text, nullable=False),
    moment("created_at"),
)
