"""A process on a host and what it says, between the shell's threads and the pump's: bounded, and in order."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from iris_core.log_protocol import Complained, Ended, Received

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iris_core.errors import RemoteShellError
    from iris_core.log_protocol import Event
    from iris_core.model import Host
    from iris_core.ports.remote_shell import RemoteProcess, RemoteShell

_HIGH_BYTES: Final = 512 * 1024  # in an inbox, before its process is told to wait


class ProcessInbox:
    """At most one process at a time. What it says waits here until it is taken; where that is too much, its output is held on the host.

    Every method is for the pump's one thread.

    Args:
        on_mail: called, on any thread, when there is something to take again.
    """

    __slots__ = ("_bytes", "_events", "_generation", "_lock", "_on_mail", "_paused", "_process", "_told")

    def __init__(self, on_mail: Callable[[], None]) -> None:
        self._on_mail = on_mail
        self._process: RemoteProcess | None = None
        self._generation = 0  # of the process: what an earlier one still says is of no interest
        self._lock = threading.Lock()  # for what follows
        self._events: deque[tuple[int, Event]] | None = None  # made when first needed: an empty one is 600 bytes
        self._bytes = 0
        self._paused = False
        self._told = False  # that there is something to take

    def open(self, shell: RemoteShell, host: Host, argv: Sequence[str], socket_path: str = "") -> None:
        """Start a process in place of the one before."""
        self.close()
        self._process = shell.start(host, argv, _Listener(self._put, self._generation), socket_path=socket_path)

    def write(self, data: bytes) -> None:
        """Write to the process, if there is one."""
        if self._process is not None:
            self._process.write(data)

    def close(self) -> None:
        """Give the process up. What it has said and was not taken is of no interest any more."""
        self._generation += 1
        process, self._process = self._process, None
        if process is not None:
            process.close()
        with self._lock:
            self._paused = False

    @property
    def has_mail(self) -> bool:
        """Whether `on_mail` was called for something that was not taken yet."""
        return self._told

    def leave(self) -> None:
        """Take nothing now: what comes meanwhile waits here, and then on the host."""
        with self._lock:
            self._told = False

    def take(self) -> deque[tuple[int, Event]]:
        """All that is here, for `first_of` and `put_back`."""
        with self._lock:
            self._told = False
            events, self._events = self._events or deque(), None
            self._bytes = 0
            resume, self._paused = self._paused, False
        if resume:
            self._match_paused()
        return events

    def first_of(self, events: deque[tuple[int, Event]]) -> Event | None:
        """The next event that the present process has said, with all bytes that follow directly; None: there is none."""
        while events:
            generation, event = events.popleft()
            if generation != self._generation:
                continue
            if not isinstance(event, Received):
                return event
            pieces = [event.data]
            while events and events[0][0] == generation and isinstance(following := events[0][1], Received):
                pieces.append(following.data)
                events.popleft()
            return Received(b"".join(pieces)) if len(pieces) > 1 else event
        return None

    def put_back(self, events: deque[tuple[int, Event]]) -> None:
        """Leave here what was taken and not used."""
        with self._lock:
            self._bytes += sum(_size(event) for _, event in events)
            events.extend(self._events or ())
            self._events = events

    def _put(self, generation: int, event: Event, size: int) -> None:
        """Leave an event here (on any thread), and have the process wait if too much is here."""
        with self._lock:
            if self._events is None:
                self._events = deque()
            self._events.append((generation, event))
            self._bytes += size
            pause = self._bytes > _HIGH_BYTES and not self._paused
            self._paused = self._paused or pause
            tell = not self._told
            self._told = True
        if pause:
            self._match_paused()
        if tell:
            self._on_mail()

    def _match_paused(self) -> None:
        """Have the process read or not as `_paused` says, whatever another thread changes meanwhile."""
        done: bool | None = None
        while True:
            with self._lock:
                process, paused = self._process, self._paused
            if process is None or done == paused:
                return
            if paused:
                process.pause_reading()
            else:
                process.resume_reading()
            done = paused


class _Listener:
    """What hears of one process, on the shell's threads."""

    __slots__ = ("_generation", "_put")

    def __init__(self, put: Callable[[int, Event, int], None], generation: int) -> None:
        self._put, self._generation = put, generation

    def on_stdout(self, data: bytes) -> None:
        self._put(self._generation, Received(data), len(data))

    def on_stderr(self, data: bytes) -> None:
        self._put(self._generation, Complained(data), len(data))

    def on_exit(self, status: int) -> None:
        self._put(self._generation, Ended(status), 0)

    def on_error(self, error: RemoteShellError) -> None:
        self._put(self._generation, Ended(None, str(error)), 0)


def _size(event: Event) -> int:
    return len(event.data) if isinstance(event, Received | Complained) else 0
