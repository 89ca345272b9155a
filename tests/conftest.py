"""Fixtures for all tests."""

pytest_plugins = ["tests.lab.fixtures", "tests.support.ray_fixtures"]
