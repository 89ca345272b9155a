"""What a process hands over when its connection breaks at the worst moment."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from iris_adapters.fakes import make_host
from iris_adapters.ssh.process import SshProcess
from iris_adapters.ssh.sinks import SinkBuffer
from iris_adapters.ssh.workers import Workers
from tests.unit.fakes.recorder import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable


class BreakingChannel:
    """A channel that takes a piece out of its buffer and then cannot tell the far side, as Paramiko's does on a broken connection.

    It is its transport, too.
    """

    closed = True
    exit_status = 0
    remote_chanid = 0
    is_read_here = True

    def __init__(self, breaks_at: bytes) -> None:
        self.in_buffer, self.in_stderr_buffer = SinkBuffer(), SinkBuffer()
        self.transport = self
        self._breaks_at = breaks_at

    def _send_user_message(self, _message: object) -> None:
        """It is heard."""

    def open_soon(self, opened: Callable[[Any], None], _refused: object, *, socket_path: str) -> None:
        assert not socket_path
        opened(self)

    def recv(self, size: int) -> bytes:
        data = self.in_buffer.read(size)
        if data == self._breaks_at:
            raise EOFError
        return data


class ReadyPool:
    """A pool, a lease and a link in one, for one channel."""

    lost = False
    refuses_sockets = False

    def __init__(self, channel: BreakingChannel) -> None:
        self.transport = channel

    def lease(self, _host: object, ready: Callable[[Any], None], _failed: object, *, session: bool) -> ReadyPool:
        assert session
        ready(self)
        return self

    def add_sink(self, _sink: object) -> None:
        """It is never told."""

    remove_sink = add_sink

    def release(self) -> None:
        """It is nobody's."""


def test_nothing_follows_what_was_lost() -> None:
    """Pieces that waited behind one that was lost are not handed over, whatever the far side said of its end: a hole would go unnoticed."""
    channel, recorder, over = BreakingChannel(b"two"), Recorder(), threading.Event()
    recorder.react = lambda heard: over.set() if heard[0] in {"exit", "error"} else None
    pool: Any = ReadyPool(channel)
    process = SshProcess(make_host("one"), ["cat"], recorder, Workers("test", 1), over=lambda _process: None)
    process.begin(pool)
    process.pause_reading()
    for piece in (b"one", b"two", b"three"):
        channel.in_buffer.feed(piece)
    process.closed()  # in order, with exit status 0
    process.resume_reading()
    assert over.wait(5.0)
    assert recorder.heard == [("out", b"one"), ("error", "ConnectionLostError")]
