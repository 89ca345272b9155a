"""What a connected iris costs Google's API does not depend on how many workers there are."""

from __future__ import annotations

import pytest

from tests.benchmarks.gcloud_calls import measure

pytestmark = [pytest.mark.lab, pytest.mark.timeout(300)]

SECONDS, EVERY = 12.0, 3.0


def test_calls_do_not_grow_with_the_workers() -> None:
    """One list of the slices at each interval and now and then a look at the controller, for 2 hosts as for 200 that do not answer."""
    for hosts in (2, 200):
        calls = measure(hosts, seconds=SECONDS, every_seconds=EVERY)
        assert set(calls) <= {"list of slices", "controller"}, calls
        assert 1 <= calls["list of slices"] <= SECONDS / EVERY + 1
        assert calls["controller"] <= 2
