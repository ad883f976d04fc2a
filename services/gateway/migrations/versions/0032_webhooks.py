"""Webhooks, what is sent to them, and how that went."""

from alembic import op

from common.audit_tables import audited
from common.schema import protect_all

revision = "0032_webhooks"
down_revision = "0031_audited_cascades"

_TENANT = "tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid"

TABLES = f"""
    CREATE TABLE webhooks (
        {_TENANT},
        id uuid NOT NULL,
        url text NOT NULL,
        description text NOT NULL DEFAULT '',
        types text[] NOT NULL DEFAULT '{{}}',
        state text NOT NULL DEFAULT 'enabled',
        disabled_reason text NOT NULL DEFAULT '',
        secret bytea NOT NULL,
        old_secret bytea,
        old_secret_until timestamptz,
        version bigint NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT webhooks_state CHECK (state IN ('enabled', 'disabled'))
    );

    -- How a webhook is doing: changed with each attempt, so apart from what people change.
    CREATE TABLE webhook_health (
        {_TENANT},
        webhook_id uuid NOT NULL,
        failures int NOT NULL DEFAULT 0,
        failing_since timestamptz,
        closed_until timestamptz,
        PRIMARY KEY (tenant_id, webhook_id),
        CONSTRAINT webhook_health_of FOREIGN KEY (tenant_id, webhook_id)
            REFERENCES webhooks (tenant_id, id) ON DELETE CASCADE
    ) WITH (fillfactor = 50);

    CREATE TABLE webhook_deliveries (
        {_TENANT},
        id uuid NOT NULL,
        webhook_id uuid NOT NULL,
        event_id uuid NOT NULL,
        event_type text NOT NULL,
        source text NOT NULL,
        sequence bigint NOT NULL,
        body bytea NOT NULL,
        state text NOT NULL DEFAULT 'pending',
        attempts int NOT NULL DEFAULT 0,
        round int NOT NULL DEFAULT 0,
        tries int NOT NULL DEFAULT 0,
        next_attempt_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT webhook_deliveries_once UNIQUE (tenant_id, webhook_id, event_id),
        CONSTRAINT webhook_deliveries_state CHECK (state IN ('pending', 'delivered', 'failed')),
        CONSTRAINT webhook_deliveries_webhook FOREIGN KEY (tenant_id, webhook_id)
            REFERENCES webhooks (tenant_id, id) ON DELETE CASCADE
    );
    CREATE INDEX webhook_deliveries_newest ON webhook_deliveries (tenant_id, webhook_id, id);
    CREATE INDEX webhook_deliveries_age ON webhook_deliveries (created_at);

    CREATE TABLE webhook_attempts (
        {_TENANT},
        delivery_id uuid NOT NULL,
        number int NOT NULL,
        attempted_at timestamptz NOT NULL,
        duration_ms int NOT NULL,
        status_code int NOT NULL,
        error text NOT NULL,
        response text NOT NULL,
        PRIMARY KEY (tenant_id, delivery_id, number),
        CONSTRAINT webhook_attempts_delivery FOREIGN KEY (tenant_id, delivery_id)
            REFERENCES webhook_deliveries (tenant_id, id) ON DELETE CASCADE
    );
"""


def upgrade() -> None:
    op.execute(TABLES)
    names = ["webhooks", "webhook_health", "webhook_deliveries", "webhook_attempts"]
    op.execute(protect_all("gateway", names))
    op.execute("GRANT DELETE ON webhook_deliveries TO gateway_system;")
    op.execute(audited("webhooks", "webhook", hidden=("secret", "old_secret")))
