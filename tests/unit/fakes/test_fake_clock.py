from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta, timezone

import pytest

from iris_adapters.fakes import FakeClock

START = datetime(2026, 3, 1, 12, tzinfo=UTC)


def in_thread(clock: FakeClock, event: threading.Event, seconds: float | None) -> tuple[threading.Thread, list[bool]]:
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(clock.wait(event, seconds)))
    thread.start()
    return thread, results


def test_time_stands_still() -> None:
    """Nobody moves the clock, so it reads the same twice."""
    clock = FakeClock(START)

    assert (clock.now(), clock.now()) == (START, START)
    assert (clock.monotonic(), clock.monotonic()) == (0.0, 0.0)


def test_advance_moves_both_times() -> None:
    """The wall clock and the monotonic clock move together."""
    clock = FakeClock(START)

    clock.advance(90)

    assert clock.monotonic() == 90
    assert clock.now() == START + timedelta(seconds=90)


def test_now_is_in_utc() -> None:
    """A start in another zone is told in UTC."""
    clock = FakeClock(datetime(2026, 3, 1, 14, tzinfo=timezone(timedelta(hours=2))))

    assert clock.now() == START
    assert clock.now().tzinfo is UTC


def test_naive_start_is_refused() -> None:
    """A start without a zone is a mistake of the test."""
    with pytest.raises(ValueError, match="aware"):
        FakeClock(datetime(2026, 3, 1))  # noqa: DTZ001 - the mistake under test


def test_time_never_goes_backwards() -> None:
    """A negative step is refused and changes nothing."""
    clock = FakeClock()

    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)

    assert clock.monotonic() == 0


def test_wait_ends_when_another_thread_advances_past_its_deadline() -> None:
    """A waiting thread is released by the step that reaches its deadline, and not by one before."""
    clock = FakeClock()
    thread, results = in_thread(clock, threading.Event(), 10)
    clock.wait_until_waiting(1)

    clock.advance(9)
    assert clock.waiters == 1
    clock.advance(1)
    assert clock.waiters == 0
    thread.join(5)

    assert results == [False]


def test_wait_ends_when_the_event_is_set() -> None:
    """A set event releases a thread without any fake time passing."""
    clock = FakeClock()
    event = threading.Event()
    thread, results = in_thread(clock, event, None)
    clock.wait_until_waiting(1)

    event.set()
    thread.join(5)

    assert results == [True]
    assert clock.monotonic() == 0


def test_wait_until_waiting_does_not_count_the_released() -> None:
    """A test that steps a loop is not told of a wait that has ended already."""
    clock = FakeClock()
    thread, _ = in_thread(clock, threading.Event(), 1)
    clock.wait_until_waiting(1)
    clock.advance(1)

    with pytest.raises(TimeoutError, match="0 threads wait"):
        clock.wait_until_waiting(1, timeout_seconds=0)

    thread.join(5)


def test_auto_advance_jumps_to_the_deadline() -> None:
    """With auto_advance a wait that nobody ends takes exactly its fake time."""
    clock = FakeClock(auto_advance=True)

    assert clock.wait(threading.Event(), 3600) is False
    assert clock.monotonic() == 3600


def test_auto_advance_stops_at_a_planned_set() -> None:
    """A plan on the way runs at its own time, and an event that it sets ends the wait there."""
    clock = FakeClock(auto_advance=True)
    event = threading.Event()
    seen: list[float] = []
    clock.call_later(20, lambda: seen.append(clock.monotonic()))
    clock.call_later(30, event.set)
    clock.call_later(40, lambda: seen.append(clock.monotonic()))

    assert clock.wait(event, 3600) is True

    assert clock.monotonic() == 30
    assert seen == [20]


def test_plans_run_in_order_of_time_then_of_making() -> None:
    """Plans for the same moment run in the order in which they were made."""
    clock = FakeClock()
    order: list[str] = []
    clock.call_later(2, lambda: order.append("c"))
    clock.call_later(1, lambda: order.append("a"))
    clock.call_later(1, lambda: order.append("b"))

    clock.advance(5)

    assert order == ["a", "b", "c"]
    assert clock.monotonic() == 5


def test_a_plan_may_plan_again() -> None:
    """A plan made by a plan runs in the same step when its time has come."""
    clock = FakeClock()
    ticks: list[float] = []

    def tick() -> None:
        ticks.append(clock.monotonic())
        clock.call_later(10, tick)

    clock.call_later(10, tick)
    clock.advance(35)

    assert ticks == [10, 20, 30]
