"""The tables of webhooks, as the migrations made them."""

from sqlalchemy import BigInteger, Column, Integer, LargeBinary, Text
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from common.schema import id_column, tenant_table, version_columns
from gateway.tables import metadata, moment

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
    moment("old_secret_until", optional=True),
    *version_columns(),
)

webhook_health = tenant_table(
    "webhook_health",
    metadata,
    Column("webhook_id", UUID(as_uuid=True), primary_key=True),
    Column("failures", Integer, nullable=False),
    moment("failing_since", optional=True),
    moment("closed_until", optional=True),
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
    moment("next_attempt_at", optional=True),
    moment("created_at"),
)

webhook_attempts = tenant_table(
    "webhook_attempts",
    metadata,
    Column("delivery_id", UUID(as_uuid=True), primary_key=True),
    Column("number", Integer, primary_key=True),
    moment("attempted_at"),
    Column("duration_ms", Integer, nullable=False),
    Column("status_code", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("response", Text, nullable=False),
)
