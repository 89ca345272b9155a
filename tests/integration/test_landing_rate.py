"""Landing keeps up with the engine: a small form of `tests/benchmarks/cases/full_speed.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.cases.full_speed import landing_over_curl

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.lab
def test_landing_keeps_up_where_the_engine_is_the_ceiling(tmp_path: Path) -> None:
    """At 0.9 of the rate at least at which curl reads the same log on the host itself, with the engine held to a third of a core."""
    assert landing_over_curl(tmp_path, 150_000, rounds=2, engine_cores=0.33) >= 0.9
