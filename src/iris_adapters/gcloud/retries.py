"""Which failed gcloud commands are run again, and when. Pure.

What SDK 528 tries again by itself, as seen against a server that refuses: TPU requests that are answered with a 503, five times. Not
those of Compute, and nothing that is answered with a 429.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from iris_adapters.gcloud.errors import is_contention
from iris_core.errors import CloudUnavailableError, InventoryToolError, RateLimitedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_core.errors import InventoryError


@dataclass(frozen=True, slots=True)
class _Budget:
    """So many tries in all, with pauses that begin at so many seconds, double, and are spread over their second half."""

    most_tries: int
    first_seconds: float

    def pause(self, tries: int, jitter: float) -> float | None:
        if tries >= self.most_tries:
            return None
        return self.first_seconds * 2.0 ** (tries - 1) * (0.5 + jitter / 2)


_CONTENTION: Final = _Budget(most_tries=5, first_seconds=1.0)
_UNAVAILABLE: Final = _Budget(most_tries=4, first_seconds=1.0)
# Rates are limited by the minute: what is to be changed waits that out (31 to 62 s), while a read, which somebody waits for and a poll
# asks again anyway, does so for 7 to 14 s.
_RATE_OF_READS: Final = _Budget(most_tries=4, first_seconds=2.0)
_RATE_OF_CHANGES: Final = _Budget(most_tries=6, first_seconds=2.0)


def pause_before_retry(
    error: InventoryError, tries: int, *, changes: bool, jitter: Callable[[], float]
) -> float | None:
    """In how many seconds the command may be run again; None: it must not be.

    Tried again is what was refused without being looked at (too many requests, gcloud's own database locked), and a read that
    Google Cloud failed to answer, where gcloud has not tried again itself. A change that failed so may have been made all the
    same: whoever asked for it must look first.

    Args:
        error: what it failed with.
        tries: how often it has been run; at least 1.
        changes: whether the command changes something.
        jitter: gives a number from 0 to 1.
    """
    if isinstance(error, InventoryToolError) and is_contention(error.detail):
        return _CONTENTION.pause(tries, jitter())
    if isinstance(error, RateLimitedError):
        return (_RATE_OF_CHANGES if changes else _RATE_OF_READS).pause(tries, jitter())
    if isinstance(error, CloudUnavailableError) and not changes and "tpus" not in error.argv:
        return _UNAVAILABLE.pause(tries, jitter())
    return None
