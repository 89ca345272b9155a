"""The time of this machine."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import threading


class SystemClock:
    """Implements `Clock` with the system's clocks. It has no state."""

    def now(self) -> datetime:
        """The wall-clock time, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an unspecified start (on Linux: since boot)."""
        return time.monotonic()

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """Wait in real time; see `Clock.wait`."""
        return event.wait(None if seconds is None else max(seconds, 0.0))
