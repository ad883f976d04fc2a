"""Run by Alembic: applies the gateway's migrations."""

from common.migrations import run_environment
from gateway.tables import metadata

run_environment(metadata)
