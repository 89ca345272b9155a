"""A process on a pretended host: the test, or a handler, plays what runs there."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from iris_core.errors import ConnectionLostError

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_core.errors import RemoteShellError
    from iris_core.model import Host
    from iris_core.ports.remote_shell import ProcessListener


class FakeProcess:
    """Implements `RemoteProcess`, and is the other end of it too.

    `emit_stdout`, `emit_stderr`, `exit` and `fail` are what the host does. What they cause happens before they return, on the
    calling thread; except that what is caused while something of this process is being delivered (a listener that writes, a
    handler that answers) comes right after that, so that a listener is never called while it is being called.

    Attributes:
        host: where it runs.
        argv: its command.
        socket_path: of the socket that it may be instead of its command.
    """

    def __init__(self, host: Host, argv: tuple[str, ...], listener: ProcessListener, socket_path: str = "") -> None:
        self.host = host
        self.argv = argv
        self.socket_path = socket_path
        self._listener = listener
        self._lock = threading.Lock()
        self._mailbox: deque[Callable[[], None]] = deque()
        self._delivering = False
        self._held: deque[Callable[[], None]] = deque()
        self._writes: list[bytes] = []
        self._paused = False
        self._closed = False
        self._exited = False
        self._over = False
        self._on_write: Callable[[bytes], None] | None = None
        self._on_close: Callable[[], None] | None = None

    # The port.

    def write(self, data: bytes) -> None:
        """See `RemoteProcess`. Noted in `writes`, and handed to what `when_written` named."""
        if self.running:
            self._post(lambda: self._take_write(data))

    def pause_reading(self) -> None:
        """See `RemoteProcess`. What the host does from now on is held back."""
        self._paused = True

    def resume_reading(self) -> None:
        """See `RemoteProcess`. What was held back arrives now."""
        self._paused = False
        self._post(self._deliver_held)

    def close(self) -> None:
        """See `RemoteProcess`. What `when_closed` named hears of it."""
        if not self._closed:
            self._closed = True
            self._post(self._take_close)

    # What the host does.

    def emit_stdout(self, data: bytes) -> None:
        """Write on standard output. Lost if the process was closed or its connection dropped; nothing if `data` is empty."""
        self._emit(data, self._listener.on_stdout)

    def emit_stderr(self, data: bytes) -> None:
        """Write on standard error; see `emit_stdout`."""
        self._emit(data, self._listener.on_stderr)

    def exit(self, status: int = 0) -> None:
        """End the process."""
        self._check_not_exited()
        self._exited = True
        self._post(lambda: self._arrive(lambda: self._end(lambda: self._listener.on_exit(status))))

    def fail(self, error: RemoteShellError | None = None) -> None:
        """Break the connection: what was held back is lost. None: a `ConnectionLostError`. No-op when the process is over."""
        problem = error or ConnectionLostError(
            f"{self.host.name}: the connection was lost, as scripted", host=self.host.name
        )
        self._post(lambda: self._break(problem))

    # What a handler asks to be told, and what a test asks.

    def when_written(self, action: Callable[[bytes], None]) -> None:
        """Call `action` with the data of every `write` from now on, in their order, never while it runs already."""
        self._on_write = action

    def when_closed(self, action: Callable[[], None]) -> None:
        """Call `action` when the process is closed by its owner."""
        self._on_close = action

    @property
    def writes(self) -> list[bytes]:
        """What was written to its standard input, one item per write."""
        return list(self._writes)

    @property
    def stdin(self) -> bytes:
        """All that was written to its standard input."""
        return b"".join(self._writes)

    @property
    def paused(self) -> bool:
        """Whether its owner has paused reading."""
        return self._paused

    @property
    def closed(self) -> bool:
        """Whether its owner has closed it."""
        return self._closed

    @property
    def running(self) -> bool:
        """Whether it has neither ended, nor failed, nor been closed, as far as its owner can know."""
        return not (self._over or self._closed)

    def _emit(self, data: bytes, receive: Callable[[bytes], None]) -> None:
        self._check_not_exited()
        if data:
            self._post(lambda: self._arrive(lambda: receive(data)))

    def _check_not_exited(self) -> None:
        if self._exited:
            raise RuntimeError(f"the script lets {self.argv} on {self.host.name} do something after it has exited")

    def _post(self, action: Callable[[], None]) -> None:
        """Run `action` now, or right after what is being delivered, so that nothing of a process overlaps."""
        with self._lock:
            self._mailbox.append(action)
            if self._delivering:
                return
            self._delivering = True
        while True:
            with self._lock:
                if not self._mailbox:
                    self._delivering = False
                    return
                following = self._mailbox.popleft()
            try:
                following()
            except BaseException:
                with self._lock:
                    self._delivering = False
                raise

    def _arrive(self, deliver: Callable[[], None]) -> None:
        if not self.running:
            return
        if self._paused or self._held:
            self._held.append(deliver)
        else:
            deliver()

    def _deliver_held(self) -> None:
        while self._held and not self._paused and self.running:
            self._held.popleft()()

    def _end(self, tell: Callable[[], None]) -> None:
        self._over = True
        tell()

    def _break(self, error: RemoteShellError) -> None:
        if self.running:
            self._held.clear()
            self._end(lambda: self._listener.on_error(error))

    def _take_write(self, data: bytes) -> None:
        if self._over:
            return
        self._writes.append(data)
        if self._on_write is not None and not self._exited:
            self._on_write(data)

    def _take_close(self) -> None:
        self._held.clear()
        if self._on_close is not None:
            self._on_close()
