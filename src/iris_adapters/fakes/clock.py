"""A clock that stands still until a test moves it."""

from __future__ import annotations

import heapq
import threading
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(slots=True, eq=False)
class _Waiter:
    event: threading.Event
    deadline: float | None

    def is_due(self, time: float) -> bool:
        return self.deadline is not None and self.deadline <= time

    @property
    def woken(self) -> threading.Condition:
        """What a set event notifies, and the clock too, so that a waiting thread need not look again and again."""
        condition: threading.Condition = self.event._cond  # type: ignore[attr-defined] # noqa: SLF001 - the one way in
        return condition


class FakeClock:
    """Implements `Clock` for tests: time passes only when the test says so.

    With `auto_advance`, a wait takes no real time: time jumps to its deadline (running what `call_later` planned on the way)
    unless the event is set first. That suits tests of one thread. Without it, a waiting thread stays until its event is set or
    another thread has called `advance` past its deadline; `wait_until_waiting` tells that thread when it may.

    Args:
        start: the wall-clock time at which `monotonic()` is 0; aware.
        auto_advance: whether a wait moves time by itself.
    """

    def __init__(self, start: datetime = DEFAULT_START, *, auto_advance: bool = False) -> None:
        if start.tzinfo is None:
            raise ValueError(f"start must be an aware datetime, is {start!r}")
        self._start = start.astimezone(UTC)
        self._auto_advance = auto_advance
        self._elapsed = 0.0
        self._changed = threading.Condition()
        self._waiters: list[_Waiter] = []
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._plans_made = 0

    def now(self) -> datetime:
        """The fake wall-clock time, aware, in UTC."""
        return self._start + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        """Fake seconds since the clock was made."""
        with self._changed:
            return self._elapsed

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """Wait in fake time; see `Clock.wait`."""
        if event.is_set() or (seconds is not None and seconds <= 0):
            return event.is_set()
        with self._changed:
            waiter = _Waiter(event, None if seconds is None else self._elapsed + seconds)
            self._waiters.append(waiter)
            self._changed.notify_all()
        try:
            if self._auto_advance and waiter.deadline is not None:
                self._move_to(waiter.deadline, until=event)
            with waiter.woken:
                while not event.is_set() and not waiter.is_due(self.monotonic()):
                    waiter.woken.wait()
                return event.is_set()
        finally:
            with self._changed:
                self._waiters.remove(waiter)
                self._changed.notify_all()

    def advance(self, seconds: float) -> None:
        """Let fake time pass, running on this thread what `call_later` planned in it, each plan at its own time.

        Raises:
            ValueError: `seconds` is negative.
        """
        if seconds < 0:
            raise ValueError(f"time does not go backwards: {seconds}")
        self._move_to(self.monotonic() + seconds)

    def call_later(self, seconds: float, action: Callable[[], None]) -> None:
        """Plan that `action` runs when `seconds` from now have passed, on the thread that makes them pass."""
        with self._changed:
            heapq.heappush(self._plans, (self._elapsed + seconds, self._plans_made, action))
            self._plans_made += 1

    @property
    def waiters(self) -> int:
        """How many threads wait at this moment, not counting those that have been released and are about to return."""
        with self._changed:
            return self._count_waiters()

    def wait_until_waiting(self, threads: int = 1, *, timeout_seconds: float = 10.0) -> None:
        """Block, in real time, until at least so many threads wait for fake time or for their event.

        Raises:
            TimeoutError: they did not within `timeout_seconds` of real time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._count_waiters() >= threads, timeout_seconds):
                raise TimeoutError(
                    f"{self._count_waiters()} threads wait on the fake clock after {timeout_seconds} s, not {threads}"
                )

    def _count_waiters(self) -> int:
        return sum(not waiter.event.is_set() and not waiter.is_due(self._elapsed) for waiter in self._waiters)

    def _move_to(self, time: float, until: threading.Event | None = None) -> None:
        while until is None or not until.is_set():
            with self._changed:
                plan = heapq.heappop(self._plans) if self._plans and self._plans[0][0] <= time else None
                self._elapsed = max(self._elapsed, plan[0] if plan else time)
                self._changed.notify_all()
                released = [waiter.woken for waiter in self._waiters if waiter.is_due(self._elapsed)]
            for woken in released:
                with woken:
                    woken.notify_all()
            if plan is None:
                return
            plan[2]()
