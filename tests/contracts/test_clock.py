"""What every `Clock` must do. A case is one function that makes a clock whose waits end by themselves."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from iris_adapters.fakes import FakeClock
from iris_adapters.system_clock import SystemClock
from iris_core.ports.clock import Clock

# Real for the system's clock, so keep it short.
A_MOMENT = 0.02

CASES = [
    pytest.param(lambda: FakeClock(auto_advance=True), id="fake"),
    pytest.param(SystemClock, id="system"),
]


@pytest.fixture(params=CASES)
def clock(request: pytest.FixtureRequest) -> Clock:
    made = request.param()
    assert isinstance(made, Clock)
    return made


def test_now_is_aware_and_in_utc(clock: Clock) -> None:
    """A time stamp can be compared and printed without asking where the machine is."""
    assert clock.now().utcoffset() == timedelta(0)


def test_a_wait_that_nobody_ends_lasts_its_time(clock: Clock) -> None:
    """When the time runs out, wait says False and that much time has passed."""
    before = clock.monotonic()

    assert clock.wait(threading.Event(), A_MOMENT) is False

    assert clock.monotonic() - before >= A_MOMENT * 0.99


def test_monotonic_never_goes_backwards(clock: Clock) -> None:
    """Readings never fall."""
    readings = []
    for _ in range(5):
        readings.append(clock.monotonic())
        clock.wait(threading.Event(), A_MOMENT / 10)

    assert readings == sorted(readings)


@pytest.mark.parametrize("seconds", [None, 3600.0, 0.0, -1.0])
def test_a_set_event_ends_the_wait_at_once(clock: Clock, seconds: float | None) -> None:
    """An event that is set already is seen, however long the wait would be."""
    event = threading.Event()
    event.set()
    before = clock.monotonic()

    assert clock.wait(event, seconds) is True

    assert clock.monotonic() - before < 60


@pytest.mark.parametrize("seconds", [0.0, -1.0])
def test_zero_or_less_is_a_look(clock: Clock, seconds: float) -> None:
    """No time left is no reason to fail, only not to wait."""
    assert clock.wait(threading.Event(), seconds) is False


def test_an_event_set_by_another_thread_ends_an_endless_wait(clock: Clock) -> None:
    """A stop reaches a loop that waits without a deadline."""
    event = threading.Event()
    results: list[bool] = []
    waiting = threading.Thread(target=lambda: results.append(clock.wait(event, None)))
    waiting.start()

    event.set()
    waiting.join(5)

    assert results == [True]
