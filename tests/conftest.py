"""Fixtures and settings for all tests."""

import os

from hypothesis import settings

pytest_plugins = ["tests.lab.fixtures", "tests.support.ray_fixtures"]

# A busy machine is no counterexample. In CI there are more examples, and by Hypothesis's own choice the same ones every time.
settings.register_profile("iris", parent=settings(), deadline=None, max_examples=100 if os.environ.get("CI") else 25)
settings.load_profile("iris")
