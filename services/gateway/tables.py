"""The gateway's tables, as the migrations made them."""

from sqlalchemy import Column, DateTime, LargeBinary, MetaData, Table, Text, func
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from common.schema import id_column, tenant_table

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
