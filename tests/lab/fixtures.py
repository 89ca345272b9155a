"""The lab's fixtures, and what becomes of tests marked `lab` where the machine has no lab."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from tests.lab.gcloud_api import GcloudApi
from tests.lab.lab import Lab
from tests.lab.network import Network, own_network_namespace
from tests.lab.requirements import explain, is_required, missing_for_api, missing_for_hosts

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test marked `lab`, or fail it with IRIS_REQUIRE_LAB=1, where what it needs is missing."""
    if item.get_closest_marker("lab") is None:
        return
    fixtures = getattr(item, "fixturenames", ())
    api_only = "gcloud_api" in fixtures and not {"lab", "networked_lab"} & set(fixtures)
    missing = missing_for_api() if api_only else missing_for_hosts()
    if missing and is_required():
        pytest.fail(explain(missing), pytrace=False)
    if missing:
        pytest.skip(explain(missing))


@pytest.fixture
def gcloud_api(tmp_path: Path) -> Iterator[GcloudApi]:
    """A pretended Google Cloud without machines, for the real gcloud; addresses and host keys lead nowhere."""
    with GcloudApi(tmp_path) as api:
        yield api


@pytest.fixture
def networked_lab() -> Iterator[Lab]:
    """As `lab`, with a network of its own for every host; the test is in a network namespace that has nothing else."""
    with own_network_namespace(), closing(Network()) as network, Lab(network=network) as whole:
        yield whole


@pytest.fixture
def lab() -> Iterator[Lab]:
    """A pretended Google Cloud whose instances and nodes are hosts with sshd and Docker."""
    with Lab() as whole:
        yield whole
