"""Users with roles, tenants that can be suspended, and what operators did to them."""

from alembic import op

from common.schema import protect, protect_all

revision = "0011_people"
down_revision = "0010_jobs"
branch_labels = None
depends_on = None

TENANT = "tenant_id uuid NOT NULL DEFAULT current_setting('erp.tenant_id')::uuid"
# Permissions above tenants are held in the platform's own tenant only, whatever a program does.
PLATFORM = "00000000-0000-7000-8000-000000000000"
BELOW = f"""CHECK (tenant_id = '{PLATFORM}'
    OR array_to_string(permissions, ',') !~ '(^|,)platform[.]')"""

TENANTS = """
    ALTER TABLE tenants
        ADD state text NOT NULL DEFAULT 'active',
        ADD version bigint NOT NULL DEFAULT 1,
        ADD updated_at timestamptz NOT NULL DEFAULT now(),
        ADD CONSTRAINT tenants_state CHECK (state IN ('active', 'suspended'));
    GRANT UPDATE (name, plan, state, version, updated_at) ON tenants TO gateway_app;
"""
ROLES = f"""
    CREATE TABLE roles (
        {TENANT},
        id uuid NOT NULL,
        name text NOT NULL,
        description text NOT NULL DEFAULT '',
        built_in text,
        permissions text[] NOT NULL DEFAULT '{{}}',
        version bigint NOT NULL DEFAULT 1,
        created_at timestamptz NOT NULL DEFAULT now(),
        updated_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT roles_name UNIQUE (tenant_id, name),
        CONSTRAINT roles_built_in UNIQUE (tenant_id, built_in),
        CONSTRAINT roles_built_in_permissions CHECK (built_in IS NULL OR permissions = '{{}}'),
        CONSTRAINT roles_below_platform {BELOW},
        CONSTRAINT roles_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id)
    );
    CREATE TABLE user_roles (
        {TENANT},
        user_id uuid NOT NULL,
        role_id uuid NOT NULL,
        PRIMARY KEY (tenant_id, user_id, role_id),
        CONSTRAINT user_roles_user FOREIGN KEY (tenant_id, user_id)
            REFERENCES users (tenant_id, id) ON DELETE CASCADE,
        CONSTRAINT user_roles_role FOREIGN KEY (tenant_id, role_id) REFERENCES roles (tenant_id, id)
    );
    CREATE INDEX user_roles_role_index ON user_roles (tenant_id, role_id);
"""
# Until now users held permissions themselves, and nothing but the seed made any: with all of them.
EXISTING = """
    ALTER TABLE tenants NO FORCE ROW LEVEL SECURITY;
    ALTER TABLE users NO FORCE ROW LEVEL SECURITY;
    INSERT INTO roles (tenant_id, id, name, built_in)
        SELECT tenants.id, gen_random_uuid(), role, role
        FROM tenants, unnest(ARRAY['admin', 'sales', 'warehouse', 'accountant', 'viewer']) AS role;
    INSERT INTO user_roles (tenant_id, user_id, role_id)
        SELECT users.tenant_id, users.id, roles.id
        FROM users JOIN roles ON roles.tenant_id = users.tenant_id AND built_in = 'admin'
        WHERE '*' = ANY(users.permissions);
    ALTER TABLE users FORCE ROW LEVEL SECURITY;
    ALTER TABLE tenants FORCE ROW LEVEL SECURITY;
"""
USERS = """
    ALTER TABLE users
        DROP permissions,
        ALTER password_hash DROP NOT NULL,
        ADD name text NOT NULL DEFAULT '',
        ADD state text NOT NULL DEFAULT 'active',
        ADD setup_hash bytea,
        ADD setup_expires_at timestamptz,
        ADD version bigint NOT NULL DEFAULT 1,
        ADD CONSTRAINT users_state CHECK (state IN ('invited', 'active', 'deactivated')),
        ADD CONSTRAINT users_active_have_passwords
            CHECK (state <> 'active' OR password_hash IS NOT NULL),
        ADD CONSTRAINT users_setup_hash UNIQUE (tenant_id, setup_hash);
"""
# A token does no more than the user it was made by, if it was made by one.
TOKENS = f"""
    ALTER TABLE api_tokens
        ADD user_id uuid,
        ADD CONSTRAINT api_tokens_user FOREIGN KEY (tenant_id, user_id)
            REFERENCES users (tenant_id, id),
        ADD CONSTRAINT api_tokens_below_platform {BELOW};
    CREATE INDEX api_tokens_user_index ON api_tokens (tenant_id, user_id);
"""
OPERATOR_ACTIONS = f"""
    CREATE TABLE operator_actions (
        {TENANT},
        id uuid NOT NULL,
        operator text NOT NULL,
        action text NOT NULL,
        detail text NOT NULL,
        reason text NOT NULL,
        request_id text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(),
        PRIMARY KEY (tenant_id, id),
        CONSTRAINT operator_actions_tenant FOREIGN KEY (tenant_id) REFERENCES tenants (id)
    );
"""


def upgrade() -> None:
    op.execute(TENANTS + ROLES + EXISTING + USERS + TOKENS + OPERATOR_ACTIONS)
    op.execute(protect_all("gateway", ["roles", "user_roles"]))
    op.execute(protect("gateway", "operator_actions", append_only=True))
