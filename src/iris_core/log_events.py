"""What happens to a source of log lines, as values: for the record beside the landed file, the handle's listeners and `iris.logs`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime


class LogEventKind(StrEnum):
    """What can happen."""

    CONNECTED = "connected"  # the engine answers (again)
    DISCONNECTED = "disconnected"  # it does not any more; `reason`
    WAITING = "waiting"  # there is no such container (yet, or any more)
    STARTED = "started"  # capture of a container begins; `container`
    RESTARTED = "restarted"  # the same container was started again
    RECREATED = "re-created"  # another container bears the name
    EXITED = "exited"  # it ended and its log is complete; `exit_code`, `oom_killed`
    GAP = "gap"  # between `after` and `before` lines may be missing: the engine no longer holds the one at `after`; `reason`
    UNVERIFIED_HEAD = (
        "unverified-head"  # lines before the first landed one (`before`) may have been rotated away unseen
    )
    UNVERIFIED_TAIL = "unverified-tail"  # the container was removed before its log was known to be complete
    SILENT = "silent"  # connected, and nothing was written for `seconds`
    UNREADABLE = "unreadable"  # the engine refuses to give the log; `reason`
    PAUSED = "paused"  # the landed file cannot be written; `reason`
    RESUMED = "resumed"  # it can again
    HOST_LOST = "host-lost"  # discovery says that its machine was preempted, or does not run any more; `reason`
    HOST_GONE = "host-gone"  # discovery says that the host is no longer there, or it is about to be deleted; `reason`
    NOT_DRAINED = "not-drained"  # capture ended before all was taken; `reason`
    DRAINED = "drained"  # capture ended with all that the engine held then


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """One thing that happened to one source.

    Attributes:
        at: when iris saw it, in UTC.
        source: the source's name: the path of its landed file in the output directory, without `.txt`.
        kind: what happened.
        details: as listed at `LogEventKind`.
    """

    at: datetime
    source: str
    kind: LogEventKind
    details: Mapping[str, object] = field(default_factory=dict, hash=False)

    def as_record(self) -> dict[str, object]:
        """The event as it is written beside the landed file."""
        return {"at": self.at.isoformat(timespec="milliseconds"), "event": self.kind.value, **self.details}

    def __str__(self) -> str:
        """For people."""
        details = ", ".join(f"{key}: {value}" for key, value in self.details.items())
        return f"{self.source}: {self.kind.value}" + (f" ({details})" if details else "")
