"""The port through which the core knows time and waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import threading
    from datetime import datetime


@runtime_checkable
class Clock(Protocol):
    """Time, and the only way to wait. Every method may be called from any thread."""

    def now(self) -> datetime:
        """The wall-clock time: aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since an unspecified start; never goes backwards."""
        ...

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """Wait until `event` is set or `seconds` have passed (None: as long as it takes; zero or less: look, do not wait).

        Returns:
            True if the event is set, False if the time ran out. A set event ends the wait at once.
        """
        ...
