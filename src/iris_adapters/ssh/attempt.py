"""What lets other threads end a connection, from the first packet on."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Attempt:
    """A try to connect that any thread can end; when it has succeeded, what ends the connection.

    Args:
        seconds: how long connecting may take, from `begin`.
        now: the monotonic clock.

    Attributes:
        seconds: the same.
        ended: whether somebody ended it.
        expired: whether it was ended because it took too long.
    """

    __slots__ = ("_deadline", "_lock", "_now", "_stops", "ended", "expired", "seconds")

    def __init__(self, seconds: float, now: Callable[[], float]) -> None:
        self.seconds = seconds
        self.ended = False
        self.expired = False
        self._now = now
        self._lock = threading.Lock()
        self._deadline: float | None = None
        self._stops: list[Callable[[], object]] = []

    def begin(self) -> None:
        """Let the time run: from now, not from when the attempt began to wait for its turn."""
        with self._lock:
            self._deadline = self._now() + self.seconds

    def end_if_late(self) -> None:
        """End it if its time is over."""
        with self._lock:
            late = self._deadline is not None and self._now() > self._deadline
            self.expired = self.expired or late
        if late:
            self.end()

    def succeed(self) -> None:
        """There is no deadline any more."""
        with self._lock:
            self._deadline = None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While the context is open, the time does not run: something else than the host is being waited for."""
        with self._lock:
            left = None if self._deadline is None else self._deadline - self._now()
            self._deadline = None
        try:
            yield
        finally:
            with self._lock:
                self._deadline = None if left is None else self._now() + left

    def guard(self, stop: Callable[[], object]) -> None:
        """Call `stop` when the attempt or the connection is ended; at once if it has been. It must not block.

        Raises:
            ConnectionAbortedError: it has been ended.
        """
        with self._lock:
            ended = self.ended
            if not ended:
                self._stops.append(stop)
        if ended:
            stop()
            raise ConnectionAbortedError("given up")

    def forget(self, stop: Callable[[], object]) -> None:
        """Do not call `stop` any more."""
        with self._lock:
            if stop in self._stops:
                self._stops.remove(stop)

    def end(self) -> None:
        """End it. Idempotent."""
        with self._lock:
            self.ended = True
            stops, self._stops = self._stops, []
        for stop in reversed(stops):
            stop()
