"""Threads for calls that wait for the far side."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger("iris.ssh")


class Workers:
    """Runs calls on at most `most` threads. A thread ends when nothing is left to do; a few may wait for more, until `close`.

    Args:
        name: what the threads are called, a number after it.
        most: how many there may be.
        waiting: how many of them may wait for more to do: to start a thread costs as much as a short call.
    """

    def __init__(self, name: str, most: int, waiting: int = 0) -> None:
        self._name = name
        self._most = most
        self._most_waiting = waiting
        self._lock = threading.Condition()
        self._calls: deque[Callable[[], None]] = deque()
        self._threads: set[threading.Thread] = set()
        self._waiting = 0
        self._started = 0

    def submit(self, call: Callable[[], None]) -> None:
        """Run `call` on a thread as soon as one is free. Returns at once; what `call` raises is logged."""
        with self._lock:
            self._calls.append(call)
            if self._waiting >= len(self._calls):
                self._lock.notify()
                return
            if len(self._threads) >= self._most:
                return
            self._started += 1
            thread = threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True)
            self._threads.add(thread)
        thread.start()

    def threads(self) -> list[threading.Thread]:
        """Those that are at work now, or wait for some."""
        with self._lock:
            return list(self._threads)

    def close(self) -> list[threading.Thread]:
        """Have none wait any more. Returns the threads that are about to end."""
        with self._lock:
            self._most_waiting = 0
            self._lock.notify_all()
            return list(self._threads)

    def _work(self) -> None:
        while (call := self._next()) is not None:
            try:
                call()
            except Exception:
                _logger.exception("A call on %s failed", threading.current_thread().name)
            del call  # or this thread keeps what it led to, while it waits

    def _next(self) -> Callable[[], None] | None:
        """The next call; None: this thread is to end."""
        with self._lock:
            while not self._calls:
                if self._waiting >= self._most_waiting:
                    self._threads.discard(threading.current_thread())
                    return None
                self._waiting += 1
                self._lock.wait()
                self._waiting -= 1
            return self._calls.popleft()
