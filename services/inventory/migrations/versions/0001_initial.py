"""The first schema: goods, places, stock and promises."""

from alembic import op

from common.schema import event_tables, number_series, protect_all

revision = "0001"
down_revision = None

_TENANT = "tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid"

_GOODS = f"""
    CREATE TABLE companies (
        {_TENANT},
        name text NOT NULL,
        currency_code text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id),
        CONSTRAINT companies_currency_is_a_code CHECK (currency_code ~ '^[A-Z]{{3}}$')
    );

    CREATE TABLE products (
        {_TENANT},
        id uuid NOT NULL,
        sku text NOT NULL,
        name text NOT NULL,
        description text NOT NULL,
        list_price_currency text NOT NULL,
        list_price_minor bigint NOT NULL,
        state text NOT NULL DEFAULT 'active',
        version bigint NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT products_sku_key UNIQUE (tenant_id, sku),
        CONSTRAINT products_state_is_known CHECK (state IN ('active', 'archived')),
        CONSTRAINT products_price_is_not_negative CHECK (list_price_minor >= 0)
    );

    CREATE TABLE warehouses (
        {_TENANT},
        id uuid NOT NULL,
        code text NOT NULL,
        name text NOT NULL,
        version bigint NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT warehouses_code_key UNIQUE (tenant_id, code)
    );
"""

# Room is left on the pages of rows that change often, so that a change stays on its page.
_STOCK = f"""
    CREATE TABLE stock_levels (
        {_TENANT},
        product_id uuid NOT NULL,
        warehouse_id uuid NOT NULL,
        on_hand numeric(18,6) NOT NULL DEFAULT 0,
        reserved numeric(18,6) NOT NULL DEFAULT 0,
        value_minor bigint NOT NULL DEFAULT 0,
        backorders_tried_to uuid,
        version bigint NOT NULL DEFAULT 0,
        PRIMARY KEY (tenant_id, product_id, warehouse_id),
        CONSTRAINT stock_levels_product FOREIGN KEY (tenant_id, product_id) REFERENCES products,
        CONSTRAINT stock_levels_warehouse
            FOREIGN KEY (tenant_id, warehouse_id) REFERENCES warehouses,
        CONSTRAINT stock_levels_reserved_is_not_negative CHECK (reserved >= 0),
        CONSTRAINT stock_levels_reserved_is_on_hand CHECK (reserved <= on_hand),
        CONSTRAINT stock_levels_value_is_not_negative CHECK (value_minor >= 0),
        CONSTRAINT stock_levels_nothing_is_worth_nothing CHECK (on_hand > 0 OR value_minor = 0)
    ) WITH (fillfactor = 50);
    CREATE INDEX stock_levels_by_warehouse
        ON stock_levels (tenant_id, warehouse_id, product_id);
    CREATE INDEX stock_levels_with_untried_backorders
        ON stock_levels (tenant_id) WHERE backorders_tried_to IS NOT NULL;

    CREATE TABLE stock_movements (
        {_TENANT},
        id uuid NOT NULL,
        product_id uuid NOT NULL,
        warehouse_id uuid NOT NULL,
        kind text NOT NULL,
        quantity numeric(18,6) NOT NULL,
        value_minor bigint NOT NULL,
        source_kind text NOT NULL,
        source_id uuid NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT stock_movements_level
            FOREIGN KEY (tenant_id, product_id, warehouse_id) REFERENCES stock_levels,
        CONSTRAINT stock_movements_kind_is_known
            CHECK (kind IN ('receipt', 'adjustment', 'shipment')),
        CONSTRAINT stock_movements_source_is_known
            CHECK (source_kind IN ('receipt', 'adjustment', 'reservation')),
        CONSTRAINT stock_movements_move_something CHECK (quantity <> 0),
        CONSTRAINT stock_movements_value_goes_with_quantity CHECK (quantity * value_minor >= 0)
    );
    CREATE INDEX stock_movements_by_level
        ON stock_movements (tenant_id, product_id, warehouse_id, id);
    CREATE INDEX stock_movements_by_warehouse ON stock_movements (tenant_id, warehouse_id, id);
    CREATE INDEX stock_movements_by_source ON stock_movements (tenant_id, source_id, id);

    CREATE TABLE receipts (
        {_TENANT},
        id uuid NOT NULL,
        number text NOT NULL,
        warehouse_id uuid NOT NULL,
        reference text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT receipts_number_key UNIQUE (tenant_id, number),
        CONSTRAINT receipts_warehouse FOREIGN KEY (tenant_id, warehouse_id) REFERENCES warehouses
    );

    CREATE TABLE adjustments (
        {_TENANT},
        id uuid NOT NULL,
        number text NOT NULL,
        warehouse_id uuid NOT NULL,
        reason text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT adjustments_number_key UNIQUE (tenant_id, number),
        CONSTRAINT adjustments_warehouse
            FOREIGN KEY (tenant_id, warehouse_id) REFERENCES warehouses
    );
"""

_PROMISES = f"""
    CREATE TABLE reservations (
        {_TENANT},
        id uuid NOT NULL,
        origin text NOT NULL,
        order_id uuid,
        reference text,
        warehouse_id uuid NOT NULL,
        state text NOT NULL,
        expires_at timestamptz,
        version bigint NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT reservations_warehouse
            FOREIGN KEY (tenant_id, warehouse_id) REFERENCES warehouses,
        CONSTRAINT reservations_origin_is_known CHECK (
            origin = 'direct' OR (origin = 'order' AND order_id IS NOT NULL AND reference IS NULL)),
        CONSTRAINT reservations_state_is_known
            CHECK (state IN ('held', 'backordered', 'released', 'expired', 'shipped')),
        CONSTRAINT reservations_only_orders_wait CHECK (state <> 'backordered' OR origin = 'order')
    ) WITH (fillfactor = 80);
    CREATE UNIQUE INDEX reservations_reference_key
        ON reservations (tenant_id, reference) WHERE reference IS NOT NULL;
    CREATE UNIQUE INDEX reservations_order_key
        ON reservations (tenant_id, order_id) WHERE origin = 'order';
    CREATE INDEX reservations_by_order
        ON reservations (tenant_id, order_id, id) WHERE order_id IS NOT NULL;
    CREATE INDEX reservations_by_state ON reservations (tenant_id, state, id);
    CREATE INDEX reservations_that_expire
        ON reservations (expires_at) WHERE state = 'held' AND expires_at IS NOT NULL;

    CREATE TABLE reservation_lines (
        {_TENANT},
        reservation_id uuid NOT NULL,
        position int NOT NULL,
        product_id uuid NOT NULL,
        warehouse_id uuid NOT NULL,
        quantity numeric(18,6) NOT NULL,
        shipped numeric(18,6) NOT NULL DEFAULT 0,
        shortage numeric(18,6) NOT NULL DEFAULT 0,
        PRIMARY KEY (tenant_id, reservation_id, position),
        CONSTRAINT reservation_lines_reservation
            FOREIGN KEY (tenant_id, reservation_id) REFERENCES reservations,
        CONSTRAINT reservation_lines_product
            FOREIGN KEY (tenant_id, product_id) REFERENCES products,
        CONSTRAINT reservation_lines_warehouse
            FOREIGN KEY (tenant_id, warehouse_id) REFERENCES warehouses,
        CONSTRAINT reservation_lines_hold_something CHECK (quantity > 0),
        CONSTRAINT reservation_lines_ship_what_is_held CHECK (shipped BETWEEN 0 AND quantity),
        CONSTRAINT reservation_lines_lack_what_is_wanted CHECK (shortage BETWEEN 0 AND quantity)
    ) WITH (fillfactor = 80);
    CREATE INDEX reservation_lines_that_wait
        ON reservation_lines (tenant_id, product_id, warehouse_id, reservation_id)
        WHERE shortage > 0;
"""

_APPEND_ONLY = ("stock_movements", "receipts", "adjustments")
_TABLES = (
    "companies",
    "products",
    "warehouses",
    "stock_levels",
    "reservations",
    "reservation_lines",
    *_APPEND_ONLY,
)


def upgrade() -> None:
    op.execute(_GOODS + _STOCK + _PROMISES)
    op.execute(event_tables("inventory") + number_series("inventory"))
    op.execute(protect_all("inventory", _TABLES, _APPEND_ONLY))
