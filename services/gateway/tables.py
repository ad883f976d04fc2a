"""The gateway's tables, as the migrations made them."""

from sqlalchemy import BigInteger, Column, DateTime, Integer, LargeBinary, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from common.schema import id_column, tenant_table, version_columns

metadata = MetaData()


def _moment(name: str, *, optional: bool = False) -> Column[object]:
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
    _moment("created_at"),
)

users = tenant_table(
    "users",
    metadata,
    id_column(),
    Column("email", Text, nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("permissions", ARRAY(Text), nullable=False),
    _moment("created_at"),
    _moment("updated_at"),
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
    _moment("expires_at", optional=True),
    _moment("revoked_at", optional=True),
    _moment("created_at"),
)

webhooks = tenant_table(
    "webhooks",
    metadata,
    id_column(),
    Column("url", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("types", ARRAY(Text), nullable=False),
    Column("state", Text, nullable=False),
    Column("disabled_reason", Text, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("old_secret", LargeBinary),
    _moment("old_secret_until", optional=True),
    *version_columns(),
)

webhook_health = tenant_table(
    "webhook_health",
    metadata,
    Column("webhook_id", UUID(as_uuid=True), primary_key=True),
    Column("failures", Integer, nullable=False),
    _moment("failing_since", optional=True),
    _moment("closed_until", optional=True),
)

webhook_deliveries = tenant_table(
    "webhook_deliveries",
    metadata,
    id_column(),
    Column("webhook_id", UUID(as_uuid=True), nullable=False),
    Column("event_id", UUID(as_uuid=True), nullable=False),
    Column("event_type", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("state", Text, nullable=False),
    # How often it has been begun anew, tried since, and tried in all.
    Column("round", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    _moment("next_attempt_at", optional=True),
    _moment("created_at"),
)

webhook_attempts = tenant_table(
    "webhook_attempts",
    metadata,
    Column("delivery_id", UUID(as_uuid=True), primary_key=True),
    Column("number", Integer, primary_key=True),
    _moment("attempted_at"),
    Column("duration_ms", Integer, nullable=False),
    Column("status_code", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("response", Text, nullable=False),
)
