"""Where one source's lines and events go: its landed file, the listeners, the logger `iris.logs`."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from iris_core.errors import LogFileError
from iris_core.log_events import LogEvent, LogEventKind
from iris_core.log_protocol import BeginLife, Land, Note, ReadTail, TailRead, Verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from iris_core.log_file import LandedFile
    from iris_core.log_protocol import Action, Event
    from iris_core.model import Host
    from iris_core.ports.clock import Clock

_logger = logging.getLogger("iris.logs")

_WARN_OF: Final = frozenset(
    {
        LogEventKind.DISCONNECTED,
        LogEventKind.GAP,
        LogEventKind.UNVERIFIED_HEAD,
        LogEventKind.UNVERIFIED_TAIL,
        LogEventKind.UNREADABLE,
        LogEventKind.PAUSED,
        LogEventKind.HOST_LOST,
        LogEventKind.NOT_DRAINED,
    }
)


class Landing:
    """Carries out what a source wants done with its file, and tells of what happens to it.

    Args:
        name: of the source.
        host: where it is.
        file: where it lands; None for one that lands nothing, but tells of things.
        clock: tells the time.
        on_event: hears of every event; must be quick.

    Attributes:
        name: of the source.
        lines_landed: since it began.
    """

    __slots__ = ("_clock", "_file", "_host", "_on_event", "_owed", "lines_landed", "name")

    def __init__(
        self,
        name: str,
        host: Host,
        file: LandedFile | None,
        clock: Clock,
        on_event: Callable[[LogEvent], None],
    ) -> None:
        self.lines_landed = 0
        self.name = name
        self._host = host
        self._file = file
        self._clock = clock
        self._on_event = on_event
        self._owed: list[LogEvent] = []  # events that could not be recorded while the disk was full

    def act(self, action: Action) -> Event | None:
        """Do it, whole or not at all; returns what the source is to be told next, if anything.

        Raises:
            LogFileError: the file could not be written or read; to be tried again.
        """
        file = self._file
        match action:
            case Land(data, lines) if file is not None:  # first: there are millions
                file.append(data)
                self.lines_landed += lines
                if self._owed:
                    self._written(file)
            case Note(kind, details) if file is None:
                self._announce(self._event(kind, details))
            case _ if file is None:
                pass
            case ReadTail():
                tail = file.tail()
                self._written(file)  # nothing was, but it could be: what kept it from that is over
                return TailRead(tail)
            case BeginLife(kind, container_id, started_at, details):
                event = self._event(kind, {**details, "container": container_id})
                file.begin_life(
                    event.as_record(),
                    container_id=container_id,
                    started_at=started_at,
                    instance_id=self._host.instance_id,
                )
                self._written(file)
                self._announce(event)
            case Verify():
                file.verify()
                self._written(file)
            case Note(kind, details):
                file.verify()  # so that what is told of the log is true of the file
                event = self._event(kind, details)
                file.note(event.as_record())
                self._written(file)
                self._announce(event)
        return None

    def failed(self, error: LogFileError) -> None:
        """The file could not be written: tell of it, once."""
        if not self._owed or self._owed[-1].kind is LogEventKind.RESUMED:
            event = self._event(LogEventKind.PAUSED, {"reason": str(error)})
            self._owed.append(event)
            self._announce(event)

    def tell(self, kind: LogEventKind, details: Mapping[str, object]) -> None:
        """Record an event, as well as can be, and tell of it."""
        event = self._event(kind, details)
        try:
            if self._file is not None:
                self._file.note(event.as_record())
        except LogFileError as error:
            _logger.warning("%s: this event could not be recorded: %s", event, error)
        self._announce(event)

    def close(self) -> None:
        """Close the file, and tell if that fails."""
        try:
            if self._file is not None:
                self._file.close()
        except LogFileError as error:
            self.tell(LogEventKind.NOT_DRAINED, {"reason": str(error)})

    def _written(self, file: LandedFile) -> None:
        """Something could be written. Raises nothing: it is done, and must not be done again."""
        if not self._owed:
            return
        if self._owed[-1].kind is LogEventKind.PAUSED:
            event = self._event(LogEventKind.RESUMED, {})
            self._owed.append(event)
            self._announce(event)
        with suppress(LogFileError):  # no room for the record yet: after the next thing that is written
            while self._owed:
                file.note(self._owed[0].as_record())
                del self._owed[0]

    def _event(self, kind: LogEventKind, details: Mapping[str, object]) -> LogEvent:
        return LogEvent(at=self._clock.now(), source=self.name, kind=kind, details=details)

    def _announce(self, event: LogEvent) -> None:
        _logger.log(logging.WARNING if event.kind in _WARN_OF else logging.INFO, "%s", event)
        self._on_event(event)
