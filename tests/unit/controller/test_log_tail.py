from __future__ import annotations

import httpcore
import pytest
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, Ping, Pong, TextMessage

from iris_adapters.controller.log_tail import read_messages
from iris_core.errors import JobApiError


class Peer:
    """The other end of the stream: what it says is scripted, what it hears is recorded."""

    def __init__(self, *script: bytes | TextMessage | Ping | CloseConnection | Exception) -> None:
        self._connection = Connection(ConnectionType.SERVER)
        self._script = list(script)
        self.heard: list[object] = []

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """The next step of the script."""
        assert max_bytes > 0
        assert timeout is not None
        step = self._script.pop(0)
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, bytes) else self._connection.send(step)

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Hear."""
        assert timeout is not None
        self._connection.receive_data(buffer)
        self.heard += self._connection.events()


def test_messages_are_yielded_until_the_log_ends() -> None:
    """Each message comes out as it went in; a normal close ends the iteration and is answered."""
    peer = Peer(TextMessage("a\n"), TextMessage("b\n"), CloseConnection(1000))

    assert list(read_messages(peer, 1)) == ["a\n", "b\n"]
    assert [type(event) for event in peer.heard] == [CloseConnection]


def test_a_ping_is_answered() -> None:
    """A controller that asks for a sign of life gets one."""
    peer = Peer(Ping(b"there?"), CloseConnection(1000))

    assert list(read_messages(peer, 1)) == []
    pong = peer.heard[0]
    assert isinstance(pong, Pong)
    assert bytes(pong.payload) == b"there?"


def test_silence_is_asked_about_once() -> None:
    """After one timeout the controller is pinged, and anything it says then counts as life."""
    peer = Peer(
        httpcore.ReadTimeout(), TextMessage("a\n"), httpcore.ReadTimeout(), TextMessage("b"), CloseConnection(1000)
    )

    assert list(read_messages(peer, 1)) == ["a\n", "b"]
    assert [type(event) for event in peer.heard[:2]] == [Ping, Ping]


def test_a_dead_controller_is_an_error() -> None:
    """Two timeouts in a row end the iteration with an error that says how long there was silence."""
    with pytest.raises(JobApiError, match="no sign of life for 20 s"):
        list(read_messages(Peer(httpcore.ReadTimeout(), httpcore.ReadTimeout()), 10))


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        (CloseConnection(1012), "close code 1012"),
        (CloseConnection(1011, "no such job"), "1011: no such job"),
        (b"", "ended the log before"),
        (httpcore.ReadError("reset"), "was lost.*reset"),
        (b"\xff\xff\xff\xff", "close code 1002"),
    ],
)
def test_every_other_end_is_an_error(step: bytes | CloseConnection | Exception, problem: str) -> None:
    """A stopping server, an abrupt end, a reset, garbage: what came before is yielded, then a JobApiError says what happened."""
    messages = read_messages(Peer(TextMessage("a\n"), step), 1)

    assert next(messages) == "a\n"
    with pytest.raises(JobApiError, match=problem):
        next(messages)
