"""How long is waited before another try."""

from __future__ import annotations

import pytest

from iris_core.backoff import MOST_SECONDS, Backoff, RepeatedFailure


def waits(failures: int, *, jitter: float = 1.0) -> list[float]:
    """What is waited after each of so many failures in a row, far apart."""
    backoff = Backoff(lambda: jitter)
    return [backoff.failed(1000.0 * number) for number in range(failures)]


def test_the_first_retry_is_at_once_then_it_doubles_to_half_a_minute() -> None:
    """The sequence at the upper end of its spread."""
    assert waits(9) == [0, 1, 2, 4, 8, 16, 30, 30, 30]


@pytest.mark.parametrize("jitter", [0.0, 0.3, 1.0])
def test_the_spread_is_the_upper_half(jitter: float) -> None:
    """A thousand sources of one dead host do not come back at the same moment, and none waits longer than the most."""
    for most, seconds in zip(waits(12), waits(12, jitter=jitter), strict=True):
        assert most / 2 <= seconds <= most <= MOST_SECONDS


def test_a_host_that_stays_away_for_days_is_still_tried() -> None:
    """However many failures there were, the wait is half a minute (a power of two of them overflows after six hours)."""
    assert waits(20_000)[-1] == MOST_SECONDS


def test_a_success_begins_anew() -> None:
    """After something came of it, the next failure is retried at once."""
    backoff = Backoff(lambda: 1.0)
    for number in range(5):
        backoff.failed(1000.0 * number)
    backoff.succeeded()
    assert backoff.failed(6000.0) == 0


def test_bursts_of_successes_that_do_not_last_are_limited() -> None:
    """Ten attempts in ten seconds that each succeed and break at once make the eleventh wait; later they are free again."""
    backoff = Backoff(lambda: 0.5)
    waited = []
    for number in range(12):
        backoff.attempted(number * 0.1)
        backoff.succeeded()
        waited.append(backoff.failed(number * 0.1))
    assert waited == [0.0] * 9 + [1.0] * 3
    backoff.attempted(30.0)
    backoff.succeeded()
    assert backoff.failed(30.0) == 0


@pytest.mark.parametrize(
    ("failures", "for_good"),
    [
        ([("a", 0), ("a", 60), ("a", 120), ("a", 150), ("a", 180)], True),
        ([("a", 0), ("a", 60), ("a", 120), ("a", 150), ("a", 179)], False),
        ([("a", 0), ("a", 600), ("a", 1200), ("a", 1800)], False),
        ([("a", 0), ("a", 60), ("b", 120), ("a", 150), ("a", 180), ("a", 200), ("a", 220)], False),
        ([("a", 0), ("a", 60), ("a", 120), ("", 130), ("a", 150), ("a", 180)], False),
    ],
)
def test_the_same_has_failed_for_good_when_it_has_often_and_for_long(
    failures: list[tuple[str, float]], *, for_good: bool
) -> None:
    """Something else that fails, or a success (here: empty), begins the count anew."""
    failure = RepeatedFailure()
    for what, now in failures:
        if what:
            failure.failed(what, now)
        else:
            failure.succeeded()
    assert failure.for_good == for_good
