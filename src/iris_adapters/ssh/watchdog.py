"""One thread that looks after all connections."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_core.ports.clock import Clock

_logger = logging.getLogger("iris.ssh")


class Watchdog:
    """Calls `look` every `seconds`, from the first `start` to `stop`.

    Args:
        clock: to wait with.
        look: what to do each time.
        seconds: how often.
    """

    def __init__(self, clock: Clock, look: Callable[[], None], seconds: float) -> None:
        self._clock = clock
        self._look = look
        self._seconds = seconds
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, if it has not begun."""
        with self._lock:
            if self._thread is None and not self._stopped.is_set():
                self._thread = threading.Thread(target=self._run, name="iris-ssh-watchdog", daemon=True)
                self._thread.start()

    def stop(self) -> list[threading.Thread]:
        """End it. Returns the thread that is about to end, if there is one."""
        self._stopped.set()
        with self._lock:
            return [self._thread] if self._thread else []

    def _run(self) -> None:
        while not self._clock.wait(self._stopped, self._seconds):
            try:
                self._look()
            except Exception:
                _logger.exception("Looking after the SSH connections failed; it is tried again")
