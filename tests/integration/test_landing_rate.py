"""Landing keeps up with the engine's API: a small form of `tests/benchmarks/cases/full_speed.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.cases.full_speed import landing_over_curl

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.lab
def test_landing_keeps_up_where_the_engine_is_the_ceiling(tmp_path: Path) -> None:
    """At 0.9 of the rate at least at which curl reads the same log on the host itself, with the engine held to a third of a core.

    The log may rotate, so that iris reads nothing of the engine's file.

    In the best of three: what else runs on the machine slows the landing down, and never speeds it up.
    """
    ratios: list[float] = []
    while len(ratios) < 3 and max(ratios, default=0.0) < 0.9:
        directory = tmp_path / str(len(ratios))
        directory.mkdir()
        ratios.append(landing_over_curl(directory, 150_000, rounds=2, engine_cores=0.33))
    assert max(ratios) >= 0.9, ratios
