"""Fixtures and settings for all tests."""

from hypothesis import settings

pytest_plugins = ["tests.lab.fixtures", "tests.support.ray_fixtures"]

# A busy machine is no counterexample. In CI, Hypothesis itself also draws the same examples every time.
settings.register_profile("iris", parent=settings(), deadline=None)
settings.load_profile("iris")
