"""What the gateway tells Prometheus of those who use the system."""

from common.figures import Figure

FIGURES = (
    Figure(
        "kv_erp_tenants",
        "Companies, by plan.",
        "SELECT plan, count(*) FROM tenants WHERE state <> 'deleted' GROUP BY plan",
        ("plan",),
    ),
    Figure("kv_erp_users", "People with an account.", "SELECT count(*) FROM users"),
    Figure(
        "kv_erp_user_registrations",
        "Accounts made in the last 24 hours.",
        "SELECT count(*) FROM users WHERE created_at > now() - interval '24 hours'",
    ),
)
