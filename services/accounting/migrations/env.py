"""Run by Alembic: applies accounting's migrations."""

from accounting.tables import metadata
from common.migrations import run_environment

run_environment(metadata)
