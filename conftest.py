"""Fixtures for all tests."""

import os

pytest_plugins = ["common.testing"]
# Tests kill processes, not machines: what the disk has not yet is with the operating system.
os.environ.setdefault("KV_ERP_DEV_FSYNC", "false")
