"""What a log source is told, and what it wants done: the values that pass between the state machine and whoever drives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from iris_core.log_cursor import Tail
    from iris_core.log_events import LogEventKind

# What a source is told.


@dataclass(
    slots=True
)  # not frozen, as `Land`: that takes three times as long to make, and there is one for each line that comes alone
class Received:
    """Bytes came from the engine."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Complained:
    """Bytes came on the channel's standard error."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Ended:
    """The channel ended; `reason` is the error's text, or None where its command just exited with `status`."""

    status: int | None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class TailRead:
    """The answer to `ReadTail`; always the very next thing told."""

    tail: Tail


@dataclass(frozen=True, slots=True)
class Woken:
    """The time has come that `wake_at` asked for, or somebody wants attention."""


Event: TypeAlias = Received | Complained | Ended | TailRead | Woken


# What a source wants done.


@dataclass(frozen=True, slots=True)
class Open:
    """Start this command on the host, or connect to the socket that it would join. What an earlier one still says is of no interest."""

    argv: tuple[str, ...]
    socket_path: str


@dataclass(frozen=True, slots=True)
class Send:
    """Write to the channel."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Close:
    """Close the channel."""


@dataclass(frozen=True, slots=True)
class ReadTail:
    """Read the end of the landed file and answer with `TailRead` before anything else."""


@dataclass(slots=True)
class Land:
    """Append these whole lines to the landed file."""

    data: bytes
    lines: int


@dataclass(frozen=True, slots=True)
class BeginLife:
    """Record that what is landed from here on is of this container, then tell of it."""

    kind: LogEventKind
    container_id: str
    started_at: str
    details: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Note:
    """Tell of this."""

    kind: LogEventKind
    details: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Verify:
    """See that the landed file is as it was left."""


@dataclass(frozen=True, slots=True)
class Found:
    """Tell that the host has containers of these names."""

    names: frozenset[str]


Action: TypeAlias = Open | Send | Close | ReadTail | Land | BeginLife | Note | Verify | Found
