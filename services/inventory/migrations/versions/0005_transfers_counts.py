"""Goods in transit between warehouses, and counts of what is really there."""

from alembic import op

from common.schema import protect_all

revision = "0005_transfers_counts"
down_revision = "0002"

_TENANT = "tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid"
_VERSION = """
    version bigint NOT NULL DEFAULT 1,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()"""

_MOVEMENTS = """
    ALTER TABLE stock_movements
        DROP CONSTRAINT stock_movements_kind_is_known,
        DROP CONSTRAINT stock_movements_source_is_known,
        ADD CONSTRAINT stock_movements_kind_is_known CHECK (
            kind IN ('receipt', 'adjustment', 'shipment', 'transfer_out', 'transfer_in')),
        ADD CONSTRAINT stock_movements_source_is_known CHECK (
            source_kind IN ('receipt', 'adjustment', 'reservation', 'transfer'));
"""

# What was sent stays as it was; how much of it is still on its way is what sent, received and
# returned leave of each other, and its value goes with it.
_TRANSFERS = f"""
    CREATE TABLE transfers (
        {_TENANT},
        id uuid NOT NULL,
        number text NOT NULL,
        source_warehouse_id uuid NOT NULL,
        destination_warehouse_id uuid NOT NULL,
        reference text NOT NULL,
        state text NOT NULL,
        {_VERSION},
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT transfers_number_key UNIQUE (tenant_id, number),
        CONSTRAINT transfers_source
            FOREIGN KEY (tenant_id, source_warehouse_id) REFERENCES warehouses,
        CONSTRAINT transfers_destination
            FOREIGN KEY (tenant_id, destination_warehouse_id) REFERENCES warehouses,
        CONSTRAINT transfers_go_elsewhere CHECK (source_warehouse_id <> destination_warehouse_id),
        CONSTRAINT transfers_state_is_known
            CHECK (state IN ('in_transit', 'received', 'cancelled'))
    ) WITH (fillfactor = 80);
    CREATE INDEX transfers_by_state ON transfers (tenant_id, state, id);

    CREATE TABLE transfer_lines (
        {_TENANT},
        transfer_id uuid NOT NULL,
        position int NOT NULL,
        product_id uuid NOT NULL,
        quantity numeric(18,6) NOT NULL,
        received numeric(18,6) NOT NULL DEFAULT 0,
        returned numeric(18,6) NOT NULL DEFAULT 0,
        transit_value_minor bigint NOT NULL,
        PRIMARY KEY (tenant_id, transfer_id, position),
        CONSTRAINT transfer_lines_product_key UNIQUE (tenant_id, transfer_id, product_id),
        CONSTRAINT transfer_lines_transfer
            FOREIGN KEY (tenant_id, transfer_id) REFERENCES transfers,
        CONSTRAINT transfer_lines_product FOREIGN KEY (tenant_id, product_id) REFERENCES products,
        CONSTRAINT transfer_lines_send_something CHECK (quantity > 0),
        CONSTRAINT transfer_lines_arrive_as_sent CHECK (
            received >= 0 AND returned >= 0 AND quantity - received - returned >= 0),
        CONSTRAINT transfer_lines_value_is_not_negative CHECK (transit_value_minor >= 0),
        CONSTRAINT transfer_lines_nothing_is_worth_nothing CHECK (
            quantity - received - returned > 0 OR transit_value_minor = 0)
    ) WITH (fillfactor = 80);
"""

# The index decides that a product is in one open count of a warehouse at most.
_COUNTS = f"""
    CREATE TABLE stock_counts (
        {_TENANT},
        id uuid NOT NULL,
        number text NOT NULL,
        warehouse_id uuid NOT NULL,
        state text NOT NULL,
        adjustment_id uuid,
        {_VERSION},
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT stock_counts_number_key UNIQUE (tenant_id, number),
        CONSTRAINT stock_counts_warehouse
            FOREIGN KEY (tenant_id, warehouse_id) REFERENCES warehouses,
        CONSTRAINT stock_counts_adjustment
            FOREIGN KEY (tenant_id, adjustment_id) REFERENCES adjustments,
        CONSTRAINT stock_counts_state_is_known CHECK (state IN ('open', 'posted', 'cancelled')),
        CONSTRAINT stock_counts_adjust_when_posted CHECK (
            state = 'posted' OR adjustment_id IS NULL)
    ) WITH (fillfactor = 80);
    CREATE INDEX stock_counts_by_warehouse ON stock_counts (tenant_id, warehouse_id, id);

    CREATE TABLE stock_count_lines (
        {_TENANT},
        count_id uuid NOT NULL,
        product_id uuid NOT NULL,
        warehouse_id uuid NOT NULL,
        expected numeric(18,6) NOT NULL,
        counted numeric(18,6),
        is_open boolean NOT NULL DEFAULT true,
        PRIMARY KEY (tenant_id, count_id, product_id),
        CONSTRAINT stock_count_lines_count
            FOREIGN KEY (tenant_id, count_id) REFERENCES stock_counts,
        CONSTRAINT stock_count_lines_level
            FOREIGN KEY (tenant_id, product_id, warehouse_id) REFERENCES stock_levels,
        CONSTRAINT stock_count_lines_count_something CHECK (expected >= 0 AND counted >= 0)
    ) WITH (fillfactor = 80);
    CREATE UNIQUE INDEX stock_count_lines_one_open_count
        ON stock_count_lines (tenant_id, warehouse_id, product_id) WHERE is_open;
"""

_RIGHTS = """
    REVOKE UPDATE, DELETE ON transfers, transfer_lines, stock_counts, stock_count_lines
        FROM inventory_app;
    GRANT UPDATE (state, version, updated_at) ON transfers TO inventory_app;
    GRANT UPDATE (received, returned, transit_value_minor) ON transfer_lines TO inventory_app;
    GRANT UPDATE (state, adjustment_id, version, updated_at) ON stock_counts TO inventory_app;
    GRANT UPDATE (counted, is_open) ON stock_count_lines TO inventory_app;
"""


def upgrade() -> None:
    op.execute(_MOVEMENTS + _TRANSFERS + _COUNTS)
    tables = ("transfers", "transfer_lines", "stock_counts", "stock_count_lines")
    op.execute(protect_all("inventory", tables))
    op.execute(_RIGHTS)
