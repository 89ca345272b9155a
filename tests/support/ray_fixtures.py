"""A real Ray cluster for the tests marked `ray`, and what becomes of these where there is no Ray."""

from __future__ import annotations

import importlib.util
import os
from typing import TYPE_CHECKING

import pytest

from tests.support.ray_cluster import RayCluster

if TYPE_CHECKING:
    from collections.abc import Iterator

RAY_CPUS = 2


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `ray` where Ray is not installed; with IRIS_REQUIRE_RAY=1 let it fail."""
    if item.get_closest_marker("ray") is None or os.environ.get("IRIS_REQUIRE_RAY") == "1":
        return
    if importlib.util.find_spec("ray") is None:
        pytest.skip('needs Ray: UV_PROJECT_ENVIRONMENT=.venv-ray uv run --group ray pytest -m "ray and not lab"')


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[RayCluster]:
    """Two hosts of the slice `a` and one of the slice `b`. Starting it takes a while: whoever kills a host brings it back."""
    with RayCluster() as cluster:
        for name, index, kind in (("a", 0, "v5litepod-8"), ("a", 1, "v5litepod-8"), ("b", 0, "v5litepod-4")):
            cluster.add_worker(name, index, kind, cpus=RAY_CPUS)
        yield cluster
