"""Run by Alembic: applies the migrations of sales."""

from common.migrations import run_environment
from sales.tables import metadata

run_environment(metadata)
