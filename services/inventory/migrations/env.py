"""Where Alembic begins."""

from common.migrations import run_environment
from inventory.tables import metadata

run_environment(metadata)
