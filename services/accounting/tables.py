"""Accounting's tables, as the migrations made them."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    MetaData,
    Numeric,
    SmallInteger,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from common.schema import id_column, tenant_table, version_columns

metadata = MetaData()


def _id(name: str, *, key: bool = False, optional: bool = False) -> Column[object]:
    return Column(name, UUID(as_uuid=True), primary_key=key, nullable=optional)


def _text(name: str, *, empty: bool = False) -> Column[str]:
    return Column(name, Text, nullable=False, server_default=text("''") if empty else None)


def _code() -> Column[str]:
    # Lists are ordered by code, the same way whatever locale the server was set up with.
    return Column("code", Text(collation="C"), nullable=False)


def _minor(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False)


def _created() -> Column[object]:
    return Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now())


companies = tenant_table(
    "companies",
    metadata,
    _text("name"),
    _text("currency_code"),
    _created(),
    Column("closed_periods", ARRAY(Text), nullable=False, server_default=text("'{}'::text[]")),
)

periods = tenant_table(
    "periods",
    metadata,
    Column("id", Text(collation="C"), primary_key=True),
    _text("state"),
    *version_columns(),
)

accounts = tenant_table(
    "accounts",
    metadata,
    id_column(),
    _code(),
    _text("name"),
    _text("kind"),
    _id("parent_id", optional=True),
    _text("role", empty=True),
    *version_columns(),
)

journal_entries = tenant_table(
    "journal_entries",
    metadata,
    id_column(),
    _text("number"),
    Column("date", Date, nullable=False),
    _text("description"),
    _text("source_kind"),
    _id("source_id"),
    _id("reverses_id", optional=True),
    Column("line_count", SmallInteger, nullable=False),
    _created(),
    Column("posted_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("document_date", Date, nullable=False),
)

journal_lines = tenant_table(
    "journal_lines",
    metadata,
    _id("entry_id", key=True),
    Column("position", SmallInteger, primary_key=True),
    _id("account_id"),
    _text("currency"),
    _minor("debit_minor"),
    _minor("credit_minor"),
    _text("description", empty=True),
)

account_totals = tenant_table(
    "account_totals",
    metadata,
    _id("account_id", key=True),
    Column("period", Date, primary_key=True),
    Column("currency", Text, primary_key=True),
    Column("debit_minor", Numeric(38, 0), nullable=False),
    Column("credit_minor", Numeric(38, 0), nullable=False),
)

entry_drafts = tenant_table(
    "entry_drafts",
    metadata,
    id_column(),
    Column("date", Date, nullable=False),
    _text("description"),
    _text("currency"),
    _created(),
)

entry_draft_lines = tenant_table(
    "entry_draft_lines",
    metadata,
    _id("draft_id", key=True),
    Column("position", SmallInteger, primary_key=True),
    _id("account_id"),
    _minor("debit_minor"),
    _minor("credit_minor"),
    _text("description", empty=True),
)

invoices = tenant_table(
    "invoices",
    metadata,
    id_column(),
    _text("number"),
    _id("order_id"),
    _id("customer_id"),
    _text("state"),
    Column("date", Date, nullable=False),
    Column("due_date", Date, nullable=False),
    _text("currency"),
    _minor("net_minor"),
    _minor("tax_minor"),
    _minor("gross_minor"),
    Column("paid_minor", BigInteger, nullable=False, server_default=text("0")),
    Column("credited_minor", BigInteger, nullable=False, server_default=text("0")),
    Column(
        "amount_due_minor",
        BigInteger,
        Computed("gross_minor - paid_minor - credited_minor", persisted=True),
    ),
    _id("journal_entry_id", optional=True),
    *version_columns(),
)

invoice_lines = tenant_table(
    "invoice_lines",
    metadata,
    _id("invoice_id", key=True),
    Column("position", SmallInteger, primary_key=True),
    _id("order_line_id"),
    _text("sku"),
    Column("quantity", Numeric(18, 6), nullable=False),
    _minor("net_minor"),
    Column("tax_rate", Numeric(7, 6), nullable=False),
    _minor("tax_minor"),
)

credit_notes = tenant_table(
    "credit_notes",
    metadata,
    id_column(),
    _text("number"),
    _id("invoice_id"),
    _id("order_id"),
    _id("customer_id"),
    _text("currency"),
    _minor("net_minor"),
    _minor("tax_minor"),
    _minor("gross_minor"),
    _text("reason", empty=True),
    _id("journal_entry_id", optional=True),
    _created(),
)

credit_note_lines = tenant_table(
    "credit_note_lines",
    metadata,
    _id("credit_note_id", key=True),
    Column("position", SmallInteger, primary_key=True),
    _id("order_line_id"),
    _text("sku"),
    Column("quantity", Numeric(18, 6), nullable=False),
    _minor("net_minor"),
    _minor("tax_minor"),
)

payments = tenant_table(
    "payments",
    metadata,
    id_column(),
    _text("number"),
    _id("customer_id"),
    _text("currency"),
    _minor("amount_minor"),
    _minor("unallocated_minor"),
    _text("method"),
    _text("state"),
    _text("reference", empty=True),
    _text("void_reason", empty=True),
    _id("journal_entry_id"),
    *version_columns(),
)

allocations = tenant_table(
    "allocations",
    metadata,
    id_column(),
    _id("payment_id"),
    _id("invoice_id"),
    _minor("amount_minor"),
    _created(),
)

tax_rates = tenant_table(
    "tax_rates",
    metadata,
    id_column(),
    _code(),
    _text("name"),
    Column("rate", Numeric(7, 6), nullable=False),
    Column("is_default", Boolean, nullable=False),
    *version_columns(),
)
