"""The tables of sales."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, MetaData, Numeric, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from common.schema import id_column, tenant_table, version_columns
from common.search import words_of

metadata = MetaData()


def _uuid(name: str, *, key: bool = False, optional: bool = False) -> Column[object]:
    return Column(name, UUID(as_uuid=True), primary_key=key, nullable=optional)


def _words(name: str, default: str) -> Column[str]:
    return Column(name, Text, nullable=False, server_default=text(f"'{default}'"))


def _quantity(name: str) -> Column[object]:
    return Column(name, Numeric(18, 6), nullable=False)


def _minor(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _created_at() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


companies = tenant_table(
    "companies",
    metadata,
    Column("currency_code", Text, nullable=False),
    _created_at(),
    _words("name", ""),
)

customers = tenant_table(
    "customers",
    metadata,
    id_column(),
    Column("number", Text, nullable=False),
    Column("name", Text, nullable=False),
    _words("email", ""),
    Column("currency_code", Text, nullable=False),
    *version_columns(),
)

customer_words = words_of("customers", metadata)

orders = tenant_table(
    "orders",
    metadata,
    id_column(),
    # Absent until confirmed.
    Column("number", Text),
    _uuid("customer_id"),
    _uuid("warehouse_id"),
    _words("reference", ""),
    _words("backorder", "allow"),
    _words("state", "draft"),
    _words("reservation_state", "none"),
    _words("invoice_state", "none"),
    _words("shipment_state", "none"),
    Column("awaiting", ARRAY(Text), nullable=False, server_default=text("'{}'")),
    Column("currency_code", Text, nullable=False),
    _minor("net_minor"),
    _minor("tax_minor"),
    _minor("gross_minor"),
    _uuid("invoice_id", optional=True),
    _words("cancel_reason", ""),
    Column("confirmed_at", DateTime(timezone=True)),
    *version_columns(),
    Column("expires_at", DateTime(timezone=True)),
    # Whether nothing is due on its invoice any more.
    Column("paid", Boolean, nullable=False, server_default=text("false")),
)

# Ids are made in the order of the request, so they also keep the lines' order.
order_lines = tenant_table(
    "order_lines",
    metadata,
    _uuid("order_id", key=True),
    id_column(),
    _uuid("product_id"),
    Column("sku", Text, nullable=False),
    Column("name", Text, nullable=False),
    _quantity("quantity"),
    _quantity("shipped"),
    _quantity("shortage"),
    _minor("unit_price_minor"),
    Column("tax_rate", Numeric(7, 6), nullable=False),
    _minor("net_minor"),
    _minor("tax_minor"),
    _minor("gross_minor"),
)

mails = tenant_table(
    "mails",
    metadata,
    Column("kind", Text, primary_key=True),
    _uuid("subject_id", key=True),
    _uuid("job_id"),
    Column("state", Text, nullable=False),
    Column("recipient", Text, nullable=False),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

shipments = tenant_table(
    "shipments",
    metadata,
    _uuid("order_id", key=True),
    id_column(),
    Column("number", Text, nullable=False),
    _words("state", "pending"),
    _created_at(),
)

shipment_lines = tenant_table(
    "shipment_lines",
    metadata,
    _uuid("order_id", key=True),
    _uuid("shipment_id", key=True),
    _uuid("order_line_id", key=True),
    _quantity("quantity"),
)
