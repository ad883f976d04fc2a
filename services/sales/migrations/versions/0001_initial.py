"""Customers, orders, shipments, and what every service has."""

from alembic import op

from common.schema import event_tables, number_series, protect_all

revision = "0001"
down_revision = None

TABLES = ("companies", "customers", "orders", "order_lines", "shipments", "shipment_lines")

COMPANIES = """
    CREATE TABLE companies (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        currency_code text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id),
        CONSTRAINT companies_currency_code_check CHECK (currency_code ~ '^[A-Z]{3}$')
    );
"""

CUSTOMERS = """
    CREATE TABLE customers (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL,
        number text NOT NULL,
        name text NOT NULL,
        email text NOT NULL DEFAULT '',
        currency_code text NOT NULL,
        version bigint NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT customers_number_key UNIQUE (tenant_id, number),
        CONSTRAINT customers_name_check CHECK (name <> ''),
        CONSTRAINT customers_currency_code_check CHECK (currency_code ~ '^[A-Z]{3}$')
    );
    CREATE INDEX customers_email ON customers (tenant_id, email, id) WHERE email <> '';
"""

# Written a few times each while it is confirmed, reserved and invoiced: room for that on its page.
ORDERS = """
    CREATE TABLE orders (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        id uuid NOT NULL,
        number text,
        customer_id uuid NOT NULL,
        warehouse_id uuid NOT NULL,
        reference text NOT NULL DEFAULT '',
        backorder text NOT NULL DEFAULT 'allow',
        state text NOT NULL DEFAULT 'draft',
        reservation_state text NOT NULL DEFAULT 'none',
        invoice_state text NOT NULL DEFAULT 'none',
        shipment_state text NOT NULL DEFAULT 'none',
        awaiting text[] NOT NULL DEFAULT '{}',
        currency_code text NOT NULL,
        net_minor bigint NOT NULL,
        tax_minor bigint NOT NULL,
        gross_minor bigint NOT NULL,
        invoice_id uuid,
        cancel_reason text NOT NULL DEFAULT '',
        confirmed_at timestamptz,
        version bigint NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT orders_number_key UNIQUE (tenant_id, number),
        CONSTRAINT orders_customer_fkey FOREIGN KEY (tenant_id, customer_id)
            REFERENCES customers (tenant_id, id),
        CONSTRAINT orders_backorder_check CHECK (backorder IN ('allow', 'forbid')),
        CONSTRAINT orders_state_check CHECK (state IN ('draft', 'confirmed', 'cancelled')),
        CONSTRAINT orders_reservation_state_check CHECK (
            reservation_state IN ('none', 'pending', 'reserved', 'backordered', 'released')),
        CONSTRAINT orders_invoice_state_check CHECK (
            invoice_state IN ('none', 'pending', 'posted', 'credited')),
        CONSTRAINT orders_shipment_state_check CHECK (
            shipment_state IN ('none', 'partial', 'shipped')),
        CONSTRAINT orders_awaiting_check CHECK (
            awaiting <@ ARRAY['reservation', 'invoice', 'release', 'credit', 'shipment']),
        CONSTRAINT orders_amounts_check CHECK (
            net_minor >= 0 AND tax_minor >= 0 AND gross_minor = net_minor + tax_minor),
        CONSTRAINT orders_number_check CHECK ((number IS NULL) = (confirmed_at IS NULL)),
        CONSTRAINT orders_confirmed_check CHECK (state <> 'confirmed' OR number IS NOT NULL),
        CONSTRAINT orders_unconfirmed_check CHECK (
            number IS NOT NULL OR (reservation_state = 'none' AND invoice_state = 'none'
                AND shipment_state = 'none' AND awaiting = '{}')),
        CONSTRAINT orders_draft_check CHECK (state <> 'draft' OR number IS NULL),
        CONSTRAINT orders_cancelled_check CHECK (
            state <> 'cancelled' OR shipment_state = 'none'),
        CONSTRAINT orders_invoice_check CHECK (
            invoice_state IN ('none', 'pending') OR invoice_id IS NOT NULL)
    ) WITH (fillfactor = 60);
    CREATE INDEX orders_customer ON orders (tenant_id, customer_id, id);
    CREATE INDEX orders_state ON orders (tenant_id, state, id);
    CREATE INDEX orders_reference ON orders (tenant_id, reference, id) WHERE reference <> '';
"""

ORDER_LINES = """
    CREATE TABLE order_lines (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        order_id uuid NOT NULL,
        id uuid NOT NULL,
        product_id uuid NOT NULL,
        sku text NOT NULL,
        name text NOT NULL,
        quantity numeric(18, 6) NOT NULL,
        shipped numeric(18, 6) NOT NULL,
        shortage numeric(18, 6) NOT NULL,
        unit_price_minor bigint NOT NULL,
        tax_rate numeric(7, 6) NOT NULL,
        net_minor bigint NOT NULL,
        tax_minor bigint NOT NULL,
        gross_minor bigint NOT NULL,
        PRIMARY KEY (tenant_id, order_id, id),
        CONSTRAINT order_lines_order_fkey FOREIGN KEY (tenant_id, order_id)
            REFERENCES orders (tenant_id, id),
        CONSTRAINT order_lines_quantity_check CHECK (quantity > 0),
        CONSTRAINT order_lines_shipped_check CHECK (shipped BETWEEN 0 AND quantity),
        CONSTRAINT order_lines_shortage_check CHECK (shortage BETWEEN 0 AND quantity),
        CONSTRAINT order_lines_tax_rate_check CHECK (tax_rate BETWEEN 0 AND 1),
        CONSTRAINT order_lines_amounts_check CHECK (
            unit_price_minor >= 0 AND net_minor >= 0 AND tax_minor >= 0
            AND gross_minor = net_minor + tax_minor)
    ) WITH (fillfactor = 85);
"""

SHIPMENTS = """
    CREATE TABLE shipments (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        order_id uuid NOT NULL,
        id uuid NOT NULL,
        number text NOT NULL,
        state text NOT NULL DEFAULT 'pending',
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, order_id, id),
        CONSTRAINT shipments_number_key UNIQUE (tenant_id, number),
        CONSTRAINT shipments_order_fkey FOREIGN KEY (tenant_id, order_id)
            REFERENCES orders (tenant_id, id),
        CONSTRAINT shipments_state_check CHECK (state IN ('pending', 'shipped', 'refused'))
    ) WITH (fillfactor = 85);

    CREATE TABLE shipment_lines (
        tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid,
        order_id uuid NOT NULL,
        shipment_id uuid NOT NULL,
        order_line_id uuid NOT NULL,
        quantity numeric(18, 6) NOT NULL,
        PRIMARY KEY (tenant_id, order_id, shipment_id, order_line_id),
        CONSTRAINT shipment_lines_shipment_fkey FOREIGN KEY (tenant_id, order_id, shipment_id)
            REFERENCES shipments (tenant_id, order_id, id),
        CONSTRAINT shipment_lines_order_line_fkey FOREIGN KEY (tenant_id, order_id, order_line_id)
            REFERENCES order_lines (tenant_id, order_id, id),
        CONSTRAINT shipment_lines_quantity_check CHECK (quantity > 0)
    );
    CREATE INDEX shipment_lines_order_line ON shipment_lines (tenant_id, order_id, order_line_id);
"""


def upgrade() -> None:
    """Create everything."""
    op.execute(COMPANIES + CUSTOMERS + ORDERS + ORDER_LINES + SHIPMENTS)
    op.execute(event_tables("sales"))
    op.execute(number_series("sales"))
    op.execute(protect_all("sales", TABLES, append_only=("companies", "shipment_lines")))
