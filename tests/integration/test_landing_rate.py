"""Landing keeps up with the engine: the small form of `tests/benchmarks/landing_rate.py`."""

from __future__ import annotations

import pytest

from tests.benchmarks.landing_rate import measure


@pytest.mark.lab
def test_landing_keeps_up_where_the_engine_is_the_ceiling() -> None:
    """At 0.9 of the rate at least at which curl reads the same log on the host itself, with the engine held to a third of a core."""
    assert measure(150_000, rounds=2, engine_cores=0.33).ratio >= 0.9
