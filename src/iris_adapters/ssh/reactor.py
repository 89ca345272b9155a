"""One thread that reads the connections to all hosts, and sends what could not be sent at once."""

from __future__ import annotations

import logging
import select
import selectors
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

_logger = logging.getLogger("iris.ssh")

READ_BYTES: Final = 1 << 18
"""Read of one connection before it is the next one's turn, so that none starves the others."""

_LITTLE_BYTES: Final = 1 << 16
# With 1,000 streams and a line a second each, 0.05 s at most took 7.35 % of a core, 0.1 s 6.70 %, 0.15 s 6.60 % (two runs each, in turns).
_GATHER_SECONDS_EACH: Final = 1e-4
_MOST_GATHER_SECONDS: Final = 0.1
_LEAST_GATHER_SECONDS: Final = 0.001
# After something was asked of a host, within which its answer is not left to wait for others.
_ANSWER_SECONDS: Final = 0.05
# What had come of a packet before it was whole goes before what is read now.
_BUFFER_BYTES: Final = READ_BYTES + (1 << 19)


class Connection(Protocol):
    """What the reactor looks after. Everything is called on its thread."""

    @property
    def sock(self) -> socket.socket:
        """The socket, which does not block. The reactor closes it."""
        ...

    def read(self, buffer: memoryview) -> int:
        """Read from the socket at most once, into a buffer that is only lent, deal with it, and return how many bytes it was.

        Raises:
            Exception: the connection cannot go on.
        """
        ...

    def write(self) -> bool:
        """Send what waits; returns whether that was all.

        Raises:
            Exception: the connection cannot go on.
        """
        ...

    @property
    def may_read(self) -> bool:
        """Whether to read on: not where too much waits to be sent."""
        ...

    def ended(self, error: Exception | None) -> None:
        """It is over, because of `error` or because `Reactor.end` was called."""
        ...


class Reactor:
    """Runs from the first connection until it is closed and has no connection any more.

    Args:
        name: of the thread.

    Attributes:
        thread_id: of the thread, as `threading.get_ident` has it; None before there is one.
    """

    def __init__(self, name: str) -> None:
        self.thread_id: int | None = None
        self._name = name
        self._lock = threading.Lock()  # for what follows
        self._thread: threading.Thread | None = None
        self._closing = False
        self._is_over = False
        self._posted: deque[Callable[[], None]] = deque()
        self._is_woken = False
        self._wake_reader: socket.socket | None = None
        self._wake_writer: socket.socket | None = None
        self._selector: selectors.BaseSelector | None = None
        self._interests: dict[Connection, int] = {}  # for the thread alone, from here on
        self._read_bytes = 0  # in this round
        self._answers_until = 0.0

    def adopt(self, connection: Connection) -> None:
        """Look after a connection from now on."""
        if not self._post(lambda: self._begin(connection)):
            connection.sock.close()
            connection.ended(None)

    def end(self, connection: Connection) -> None:
        """End a connection soon. From any thread; the connection hears `ended`, once."""
        self._post(lambda: self._end(connection, None))

    def look_at(self, connection: Connection) -> None:
        """Look soon at what a connection wants: it has something to send. From any thread."""
        self._post(lambda: self._look_at(connection))

    def call_soon(self, call: Callable[[], None]) -> bool:
        """Call something that asks something of a host, on the reactor's thread; returns whether there is one. What it raises is logged."""

        def ask() -> None:
            self._answers_until = time.monotonic() + _ANSWER_SECONDS
            call()

        return self._post(ask)

    def close(self) -> list[threading.Thread]:
        """End the thread once no connection is left; whoever has one must end it. Returns the thread, if there is one."""
        with self._lock:
            self._closing = True
            thread = self._thread
        self._post(lambda: None)
        return [thread] if thread else []

    def _post(self, call: Callable[[], None]) -> bool:
        """Have it called on the thread; returns whether there is one."""
        with self._lock:
            if self._is_over or (self._closing and self._thread is None):
                return False
            if self._thread is None:
                self._start()
            self._posted.append(call)
            wake = not self._is_woken and threading.get_ident() != self.thread_id
            self._is_woken = True
            if wake and self._wake_writer is not None:
                self._wake_writer.send(b"\0")
            return True

    def _start(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.settimeout(0.0)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, args=(self._selector,), name=self._name, daemon=True)
        self._thread.start()
        self.thread_id = self._thread.ident

    def _run(self, selector: selectors.BaseSelector) -> None:
        buffer = memoryview(bytearray(_BUFFER_BYTES))
        while self._do_posted():
            self._advance_all(selector, buffer)
            self._gather()
        self._shut_down(selector)

    def _advance_all(self, selector: selectors.BaseSelector, buffer: memoryview) -> None:
        """Wait, and go on with all that can; those that have ended are not kept."""
        self._read_bytes = 0
        for key, events in selector.select():
            connection: Connection | None = key.data
            if connection is None:
                with suppress(BlockingIOError):
                    key.fileobj.recv(READ_BYTES)  # type: ignore[union-attr] # the wake-up's socket
            elif connection in self._interests:
                self._advance(connection, events, buffer)

    def _gather(self) -> None:
        """Where many connections say little, let some of it come together: to wake up costs more than to read a line."""
        if time.monotonic() < self._answers_until:
            return
        seconds = min(_MOST_GATHER_SECONDS, len(self._interests) * _GATHER_SECONDS_EACH)
        if self._read_bytes < _LITTLE_BYTES and seconds >= _LEAST_GATHER_SECONDS and self._wake_reader is not None:
            select.select([self._wake_reader], [], [], seconds)

    def _do_posted(self) -> bool:
        """Do what was asked for; returns whether to go on."""
        while True:
            with self._lock:
                if not self._posted:
                    self._is_woken = False
                    self._is_over = self._closing and not self._interests
                    return not self._is_over
                call = self._posted.popleft()
            try:
                call()
            except Exception:
                _logger.exception("A call on %s failed", self._name)

    def _shut_down(self, selector: selectors.BaseSelector) -> None:
        with self._lock:
            readers = (self._wake_reader, self._wake_writer)
            self._wake_reader = self._wake_writer = None
        selector.close()
        for sock in readers:
            if sock is not None:
                sock.close()

    def _begin(self, connection: Connection) -> None:
        if self._selector is not None:
            self._selector.register(connection.sock, selectors.EVENT_READ, connection)
            self._interests[connection] = selectors.EVENT_READ
            self._look_at(connection)

    def _advance(self, connection: Connection, events: int, buffer: memoryview) -> None:
        try:
            if events & selectors.EVENT_READ:
                self._read_bytes += connection.read(buffer)
            if events & selectors.EVENT_WRITE:
                self._look_at(connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, it ends this connection and no other
            self._end(connection, error)

    def _look_at(self, connection: Connection) -> None:
        if connection not in self._interests or self._selector is None:
            return
        try:
            interest = 0 if connection.write() else selectors.EVENT_WRITE
        except Exception as error:  # noqa: BLE001 - as in _advance
            self._end(connection, error)
            return
        if connection.may_read:
            interest |= selectors.EVENT_READ
        if interest != self._interests[connection]:
            self._interests[connection] = interest
            self._selector.modify(connection.sock, interest, connection)

    def _end(self, connection: Connection, error: Exception | None) -> None:
        if self._interests.pop(connection, None) is None or self._selector is None:
            return
        self._selector.unregister(connection.sock)
        connection.sock.close()
        try:
            connection.ended(error)
        except Exception:
            _logger.exception("What ends a connection on %s failed", self._name)
