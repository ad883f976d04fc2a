"""Fixtures for all tests."""

pytest_plugins = ["common.testing"]
