"""Tenants, and who may speak for them."""

from alembic import op

from common.schema import event_tables, protect_all

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TENANT = "tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid"

# The one table that is above all tenants. The application role sees and makes only the row of the
# tenant it acts for; names are looked up by the system role.
TENANTS = """
    CREATE TABLE tenants (
        id uuid NOT NULL,
        slug text NOT NULL,
        name text NOT NULL,
        currency_code text NOT NULL,
        plan text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (id),
        CONSTRAINT tenants_slug UNIQUE (slug),
        CONSTRAINT tenants_slug_shape CHECK (slug ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
        CONSTRAINT tenants_currency_code CHECK (currency_code ~ '^[A-Z]{3}$')
    );
    ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
    ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
    CREATE POLICY tenants_tenant ON tenants TO gateway_app
        USING (id = current_setting('erp.tenant_id')::uuid)
        WITH CHECK (id = current_setting('erp.tenant_id')::uuid);
    CREATE POLICY tenants_system ON tenants TO gateway_system USING (true) WITH CHECK (true);
    GRANT SELECT, INSERT ON tenants TO gateway_app;
    GRANT SELECT ON tenants TO gateway_system;
"""

USERS = f"""
    CREATE TABLE users (
        {TENANT},
        id uuid NOT NULL,
        email text NOT NULL,
        password_hash text NOT NULL,
        permissions text[] NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT users_email UNIQUE (tenant_id, email),
        CONSTRAINT users_email_is_lower CHECK (email = lower(email)),
        CONSTRAINT users_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id)
    );
"""

# A token is looked up before its tenant is known, hence the index on its hash alone.
API_TOKENS = f"""
    CREATE TABLE api_tokens (
        {TENANT},
        id uuid NOT NULL,
        name text NOT NULL,
        hash bytea NOT NULL,
        prefix text NOT NULL,
        permissions text[] NOT NULL,
        created_by text NOT NULL,
        expires_at timestamptz,
        revoked_at timestamptz,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT api_tokens_hash UNIQUE (tenant_id, hash),
        CONSTRAINT api_tokens_hash_length CHECK (octet_length(hash) = 32),
        CONSTRAINT api_tokens_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id)
    );
    CREATE INDEX api_tokens_lookup ON api_tokens USING hash (hash);
"""


def upgrade() -> None:
    op.execute(TENANTS + USERS + API_TOKENS)
    op.execute(protect_all("gateway", ["users", "api_tokens"]))
    op.execute(event_tables("gateway"))
