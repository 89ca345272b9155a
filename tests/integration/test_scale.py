"""What must not grow with time or with the number of hosts: a day of preemptions in fake time; `just scale` is its long form."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.scale import bounds_broken, simulate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """It warns of every lost connection, thousands of times; the tests after these want to hear it again."""
    caplog.set_level(logging.CRITICAL, logger="iris")


@pytest.mark.timeout(300)
def test_a_day_of_preemptions_stays_within_bounds(tmp_path: Path) -> None:
    """Threads, questions to the cloud, connections and memory, with 240 hosts over 24 hours."""
    figures = simulate(240, 24, tmp_path)
    assert bounds_broken(figures) == []
    assert figures.preempted_hosts > 240


@pytest.mark.timeout(300)
def test_many_hosts_stay_within_bounds(tmp_path: Path) -> None:
    """The same with 2,000 hosts over an hour."""
    assert bounds_broken(simulate(2000, 1, tmp_path)) == []
