"""Threads that live only while there is something to do."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger(__name__)


class Workers:
    """Runs calls on at most `most` threads. A thread ends when nothing is left to do, so there is nothing to shut down.

    Args:
        name: what the threads are called, a number after it.
        most: how many there may be.
    """

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._lock = threading.Lock()
        self._calls: deque[Callable[[], None]] = deque()
        self._threads: set[threading.Thread] = set()
        self._started = 0

    def submit(self, call: Callable[[], None]) -> None:
        """Run `call` on a thread as soon as one is free. Returns at once; what `call` raises is logged."""
        with self._lock:
            self._calls.append(call)
            if len(self._threads) >= self._most:
                return
            self._started += 1
            thread = threading.Thread(target=self._work, name=f"{self._name}-{self._started}", daemon=True)
            self._threads.add(thread)
        thread.start()

    def threads(self) -> list[threading.Thread]:
        """Those that are at work now."""
        with self._lock:
            return list(self._threads)

    def _work(self) -> None:
        while True:
            with self._lock:
                if not self._calls:
                    self._threads.discard(threading.current_thread())
                    return
                call = self._calls.popleft()
            try:
                call()
            except Exception:
                _logger.exception("A call on %s failed", threading.current_thread().name)
