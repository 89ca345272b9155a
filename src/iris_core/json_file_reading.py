"""How much of a log is read fast: from the engine's own file, as steps of a source. No I/O.

It is only a quicker way to some of the lines. The place is found as in what the engine serves, by the landed lines before it; where in the
file that is looked for is a guess, which costs time where it is wrong. Whatever is not as expected is left to the engine, who is asked
afterwards in any case: only its answers prove that a log has been taken whole, or that something of it is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iris_core import docker_logs
from iris_core.errors import EngineError
from iris_core.json_file_log import JsonFileLog
from iris_core.log_cursor import Anchor, Seeker
from iris_core.log_lines import Lines

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from iris_core.container_state import ContainerState
    from iris_core.engine_channel import EngineChannel
    from iris_core.log_cursor import Finder
    from iris_core.log_protocol import Event

_PLENTY_BYTES: Final = 2 * 1024 * 1024  # of answers, within …
_PLENTY_SECONDS: Final = 0.5  # … this: a tenth of what an engine can serve, and more than a slow line carries
_STILL_PLENTY_BYTES: Final = 1024 * 1024  # landed of the file, before it is read once more
_PAUSE_SECONDS: Final = 0.25  # before that

_REFUSED_SECONDS: Final = 300.0  # after the file could not be read, or the place was not found in it

_OVERLAP_BYTES: Final = 256 * 1024  # read again, for the landed lines to be found in it
_ENDS: Final = (1024 * 1024, 32 * 1024 * 1024)  # of the file, looked at before all of it where the place may be


class Pace:
    """Whether answers bring much, fast.

    Args:
        since: seconds of the clock; what comes before does not count.
    """

    __slots__ = ("_bytes", "_since")

    def __init__(self, since: float) -> None:
        self._bytes = 0
        self._since = since

    def is_plenty(self, count: int, now: float) -> bool:
        """Be told how many bytes have come now."""
        if now < self._since:
            return False
        self._bytes += count
        if self._bytes < _PLENTY_BYTES:
            return False
        fast = now - self._since <= _PLENTY_SECONDS
        self._bytes, self._since = 0, now
        return fast


class JsonFileReading:
    """Reads one container's log from its file.

    Args:
        channel: of the source, which is the engine's before and after.
        use_sudo: whether the engine's files are read with sudo.
        land: takes the lines to land, in order.
    """

    __slots__ = ("_channel", "_land", "_read_to", "_refused_until", "_use_sudo")

    def __init__(self, channel: EngineChannel, land: Callable[[Lines], None], *, use_sudo: bool) -> None:
        self._channel = channel
        self._land = land
        self._use_sudo = use_sudo
        self._refused_until = 0.0
        self._read_to: int | None = None  # of the file; None: nobody knows

    def begin_life(self) -> None:
        """The log is another one from now on, or another start's."""
        self._refused_until = 0.0
        self._read_to = None

    def pace(self, state: ContainerState) -> Pace | None:
        """What tells that the file had better be read; None: it cannot be."""
        return Pace(max(self._channel.now, self._refused_until)) if state.json_file else None

    def catch_up(self, state: ContainerState) -> Generator[None, Event, None]:
        """Land what is in the file after the last landed entry, again and again while that is much. The channel is a new one then.

        Raises:
            LostError: the connection to the host was lost.
        """
        try:
            while (yield from self._read(state)) >= _STILL_PLENTY_BYTES and not self._channel.draining:
                yield from self._channel.sleep(_PAUSE_SECONDS, connected=True)
        except EngineError:
            self._refused_until = self._channel.now + _REFUSED_SECONDS
        self._channel.reopen()

    def _read(self, state: ContainerState) -> Generator[None, Event, int]:
        """Land what is in the file now; returns how many bytes.

        Raises:
            LostError: the connection to the host was lost.
            EngineError: it cannot be read, or the place is not in it.
        """
        tail = yield from self._channel.tail()
        anchor = Anchor.at_end_of(tail)
        if anchor is None:
            landed = yield from self._read_from(state, None, 0)
            return landed or 0
        if not anchor.certain:
            raise EngineError("The last landed lines may be found in the log more than once")
        places = [tail.landed_bytes]  # or after it: an entry is longer in that file than where it has landed
        if self._read_to is not None:
            places.insert(0, self._read_to)
        elif tail.landed_bytes > _ENDS[-1]:
            size = yield from self._size(state)
            places[:0] = [size - end for end in _ENDS if size > end]
        for place in places:
            landed = yield from self._read_from(state, Seeker(anchor, whole=False), place - _OVERLAP_BYTES)
            if landed is not None:
                return landed
        raise EngineError("The last landed lines are not in the log")

    def _read_from(
        self, state: ContainerState, finder: Finder | None, place: int
    ) -> Generator[None, Event, int | None]:
        """Land what the file has from there on, after the place that is to be found; returns how many bytes, None where it was not."""
        skip = max(0, place)
        part = _Part(JsonFileLog(from_start=skip == 0), finder, self._land)
        argv = docker_logs.json_file_argv(state.json_file, skip_bytes=skip, use_sudo=self._use_sudo)
        try:
            yield from self._channel.run(argv, part.take)
        finally:
            if part.found:
                self._read_to = skip + part.log.consumed
        return part.landed_bytes if part.found else None

    def _size(self, state: ContainerState) -> Generator[None, Event, int]:
        printed: list[bytes] = []
        argv = docker_logs.json_file_size_argv(state.json_file, use_sudo=self._use_sudo)
        yield from self._channel.run(argv, printed.append)
        text = b"".join(printed)
        if not text.strip().isdigit():
            raise EngineError(f"stat on the host printed no size: {text[:60]!r}")
        return int(text)


class _Part:
    """What is read of the file with one command.

    Attributes:
        log: what reads it.
        found: whether the place to land from has come, or none was looked for.
        landed_bytes: after it.
    """

    def __init__(self, log: JsonFileLog, finder: Finder | None, land: Callable[[Lines], None]) -> None:
        self.log = log
        self.found = finder is None
        self.landed_bytes = 0
        self._finder = finder
        self._land = land

    def take(self, data: bytes) -> None:
        lines = self.log.feed(data)
        if not self.found and self._finder is not None:
            apart = lines.apart()
            index = self._finder.find(apart)
            if index is None:
                return
            self.found = True
            lines = Lines.of(apart[index:])
        if lines.count:
            self._land(lines)
            self.landed_bytes += len(lines.data)
