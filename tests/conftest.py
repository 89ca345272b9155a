"""Fixtures and settings for all tests."""

import gc
import os

from hypothesis import settings

pytest_plugins = ["tests.lab.fixtures", "tests.support.ray_fixtures"]

# A busy machine is no counterexample. In CI there are more examples, and by Hypothesis's own choice the same ones every time.
settings.register_profile("iris", parent=settings(), deadline=None, max_examples=100 if os.environ.get("CI") else 25)
settings.load_profile("iris")


def pytest_collection_finish() -> None:
    """What collection has made stays until the end, so that the collector of garbage need not look at it again and again."""
    gc.collect()
    gc.freeze()
