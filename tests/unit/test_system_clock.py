from __future__ import annotations

from datetime import UTC, datetime

from freezegun import freeze_time

from iris_adapters.system_clock import SystemClock


@freeze_time("2026-03-01 12:00:00")
def test_now_is_the_wall_clock_in_utc() -> None:
    """The time is the machine's, told in UTC."""
    now = SystemClock().now()

    assert now == datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert now.tzinfo is UTC


@freeze_time("2026-03-01 12:00:00")
def test_monotonic_counts_seconds() -> None:
    """A second of the machine is 1.0, whatever the wall clock says."""
    clock = SystemClock()
    with freeze_time("2026-03-01 12:00:00") as frozen:
        before = clock.monotonic()
        frozen.tick(2.5)
        assert clock.monotonic() - before == 2.5
