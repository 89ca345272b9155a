"""How long to wait before trying again, and how often: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_SECONDS: Final = 30.0
_MOST_DOUBLINGS: Final = 10  # a host may stay away for days, and a power of two of that many failures overflows
_BURST_ATTEMPTS: Final = 10  # in _BURST_SECONDS; further ones wait even where each succeeds at first
_BURST_SECONDS: Final = 10.0

_ENOUGH_ATTEMPTS: Final = 5
_ENOUGH_SECONDS: Final = 180.0  # an engine that is ill for a moment, or restarts, is well again by then


class Backoff:
    """The first retry is at once; then from 1 s, doubling up to 30 s, spread by half; bursts of successes that do not last are limited.

    Args:
        jitter: gives numbers from 0 to 1, to spread the retries of many.
    """

    __slots__ = ("_attempts", "_failures", "_jitter")

    def __init__(self, jitter: Callable[[], float]) -> None:
        self._jitter = jitter
        self._failures = 0
        self._attempts: list[float] = []

    def attempted(self, now: float) -> None:
        """An attempt begins."""
        self._attempts = [*self._attempts, now][-_BURST_ATTEMPTS:]

    def succeeded(self) -> None:
        """It came to something."""
        self._failures = 0

    def failed(self, now: float) -> float:
        """It failed, or what it had come to is lost. Returns the seconds to wait."""
        self._failures += 1
        if self._failures > 1:
            doublings = min(self._failures - 2, _MOST_DOUBLINGS)
            return min(MOST_SECONDS, 2.0**doublings) * (0.5 + self._jitter() / 2)
        if len(self._attempts) == _BURST_ATTEMPTS and now - self._attempts[0] < _BURST_SECONDS:
            return 0.5 + self._jitter()
        return 0.0


class RepeatedFailure:
    """Whether the same has failed so often, and for so long, that it will not be otherwise the next time.

    Attributes:
        for_good: whether it has.
    """

    __slots__ = ("_attempts", "_since", "_what", "for_good")

    def __init__(self) -> None:
        self.for_good = False
        self._what: object = None
        self._attempts = 0
        self._since = 0.0

    def failed(self, what: object, now: float) -> None:
        """This has failed; it is another thing if it does not equal what failed before."""
        if what != self._what:
            self._what, self._attempts, self._since = what, 0, now
        self._attempts += 1
        self.for_good = self._attempts >= _ENOUGH_ATTEMPTS and now - self._since >= _ENOUGH_SECONDS

    def succeeded(self) -> None:
        """It has not failed."""
        self._what, self.for_good = None, False
