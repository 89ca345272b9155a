"""Fixtures and settings for all tests."""

from __future__ import annotations

import gc
import itertools
import os
import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from pathlib import Path

pytest_plugins = ["tests.lab.fixtures", "tests.support.ray_fixtures"]

# A busy machine is no counterexample. In CI there are more examples, and by Hypothesis's own choice the same ones every time.
settings.register_profile("iris", parent=settings(), deadline=None, max_examples=100 if os.environ.get("CI") else 25)
settings.load_profile("iris")

_numbers = itertools.count()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pytest's own, which reads the names of all directories made so far to find the next one's: the more, the longer."""
    name = re.sub(r"\W", "_", request.node.name)[:24]
    return tmp_path_factory.mktemp(f"{name}-{next(_numbers)}", numbered=False)


# The collector of garbage has little to do here and took a tenth of the time: it looks less often, and not at what collection made.
gc.set_threshold(20_000, 50, 100)


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
