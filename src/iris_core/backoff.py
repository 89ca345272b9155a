"""How long to wait before trying again: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

MOST_SECONDS: Final = 30.0
_MOST_DOUBLINGS: Final = 10  # a host may stay away for days, and a power of two of that many failures overflows
_BURST_ATTEMPTS: Final = 10  # in _BURST_SECONDS; further ones wait even where each succeeds at first
_BURST_SECONDS: Final = 10.0


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
