"""What hears of a channel's bytes and of its end: buffers that iris puts in the place of Paramiko's, and handlers around Paramiko's own."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

from paramiko.channel import Channel
from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_FAILURE,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
    cMSG_CHANNEL_REQUEST,
    cMSG_CHANNEL_WINDOW_ADJUST,
)
from paramiko.message import Message
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

WINDOW_BYTES: Final = 1 << 21
"""How many bytes of a channel the far side may have sent that were not read here yet."""

# So little is not told to the channel, which opens its window by tenths.
_SMALL_CHANGE_BYTES: Final = WINDOW_BYTES // 32


class ChannelSink(Protocol):
    """What hears of a channel. All but `readable` are called on the thread that reads its connection, none with a channel's lock held."""

    def take(self, data: bytes) -> bool:
        """Take what came on standard output, with nothing waiting before it; False: let it wait to be read, as if `take` were not there."""

    def readable(self) -> None:
        """There is something to `recv` that was not there before."""

    def input_ended(self) -> None:
        """The far side sends no more data; what arrived before may still be waiting."""

    def writable(self) -> None:
        """The far side takes more data."""

    def refused(self) -> None:
        """The far side did not do what was asked of it: it runs no command."""

    def killed(self, signal_name: str) -> None:
        """The process was ended by this signal (`TERM`)."""

    def closed(self) -> None:
        """The far side closed the channel, in order: everything it had to say has arrived."""

    def connection_ended(self) -> None:
        """The connection is gone, and the channel with it."""


class SinkBuffer:
    """Takes the place of a channel's `BufferedPipe`: never blocks, and tells its sink of every arrival.

    Attributes:
        sink: who hears of it; None while there is nobody.
        chunks: what has arrived and was not read; None or empty: nothing.
        has_ended: whether the far side sends no more data.
        is_closed: whether it has closed the channel.
        taken_bytes: by the sink at once, that the channel's window does not know of yet.
    """

    __slots__ = ("_bytes", "chunks", "has_ended", "is_closed", "sink", "taken_bytes")

    def __init__(self) -> None:
        self.sink: ChannelSink | None = None
        self.has_ended = False
        self.is_closed = False
        self.chunks: deque[bytes] | None = None  # made when first needed: an empty deque is 760 bytes
        self._bytes = 0
        self.taken_bytes = 0

    def feed(self, data: bytes) -> None:
        """Called by the channel with what has arrived.

        Raises:
            SSHException: the far side sends more than it was allowed to; it would fill our memory.
        """
        if not data:
            return
        if self._bytes > WINDOW_BYTES:
            raise SSHException("The host sends more than the channel's window allows")
        if self.chunks is None:
            self.chunks = deque()
        self.chunks.append(data)
        self._bytes += len(data)
        if self.sink is not None:
            self.sink.readable()

    def read(self, nbytes: int, _timeout: float | None = None) -> bytes:
        """Called by `Channel.recv`, which then opens the window again by as much. Empty: nothing is there."""
        if not self.chunks:
            return b""
        chunk = self.chunks.popleft()
        if len(chunk) > nbytes:
            self.chunks.appendleft(chunk[nbytes:])
            chunk = chunk[:nbytes]
        self._bytes -= len(chunk)
        return chunk

    def read_ready(self) -> bool:
        """Whether `read` would return something."""
        return bool(self.chunks)

    def close(self) -> None:
        """Called by the channel with its lock held, so nothing is done here: the handlers below tell the sink later."""

    def __len__(self) -> int:
        return self._bytes


class _NobodyWaits(threading.Event):
    """Stands in for the events of a channel that nobody waits for."""

    def __init__(self) -> None:
        """Make none of what waiting takes."""

    def set(self) -> None:
        """Nobody is woken."""

    def clear(self) -> None:
        """It needs no waiting for."""

    def notify_all(self) -> None:
        """As `set`."""

    def is_set(self) -> bool:
        """It needs no waiting for."""
        return True


_NOBODY_WAITS: Any = _NobodyWaits()


# What Paramiko makes for each channel; dozens of these objects would be thrown away here.
_FIELDS: Final = tuple(
    {
        **vars(Channel(0)),
        "out_buffer_cv": _NOBODY_WAITS,
        "status_event": _NOBODY_WAITS,
        "event": _NOBODY_WAITS,
        "timeout": 0.0,
    }.items()
)


class CommandChannel(Channel):
    """A channel whose end, window and answers are told to its sink; without the three events of Paramiko's, which are a kilobyte each."""

    def __init__(self, number: int) -> None:
        for name, value in _FIELDS:  # not by its dict: each would get one of its own then
            setattr(self, name, value)
        self.chanid, self._name = number, str(number)
        self.lock = threading.Lock()
        buffers: Any = SinkBuffer(), SinkBuffer()
        self.in_buffer, self.in_stderr_buffer = buffers

    def _set_transport(self, transport: Transport) -> None:
        """As Paramiko's, which looks its logger up anew."""
        self.transport = transport
        self.logger = transport.logger


def attach(channel: Channel, sink: ChannelSink) -> tuple[SinkBuffer, SinkBuffer]:
    """Let `sink` hear of `channel`, also of what has arrived already. It may hear of an end twice.

    Returns:
        The buffers of standard output and standard error; read them with `channel.recv` and `channel.recv_stderr`.
    """
    out, err = channel.in_buffer, channel.in_stderr_buffer
    if not isinstance(out, SinkBuffer) or not isinstance(err, SinkBuffer):
        raise TypeError("the channel is not one of an IrisTransport")
    out.sink = err.sink = sink
    if out.read_ready() or err.read_ready():
        sink.readable()
    if out.has_ended:
        sink.input_ended()
    if out.is_closed:
        sink.closed()
    return out, err


_PARAMIKO: Any = Transport  # the parts of it that its stubs do not have
_ANY_CHANNEL: Any = Channel
_TABLE: Final[Mapping[int, Callable[[Channel, Message], None]]] = _PARAMIKO._channel_handler_table  # noqa: SLF001 - docs/decisions/0005


def close_quietly(channel: Channel) -> None:
    """Close it. Where the connection is on its way out, that cannot be said to the far side, and need not be."""
    with suppress(SSHException, EOFError, OSError):
        channel.close()


def start_command(channel: Channel, command: str) -> None:
    """Ask the far side to run a command, without waiting for its word that it does, as Paramiko's `exec_command` would.

    Raises:
        SSHException, EOFError, OSError: the connection is on its way out.
    """
    message = Message()
    message.add_byte(cMSG_CHANNEL_REQUEST)
    message.add_int(channel.remote_chanid)
    message.add_string("exec")
    message.add_boolean(True)  # noqa: FBT003 - the wire's "want reply"
    message.add_string(command)
    _send(channel, message)


def take_data(channel: Channel, data: bytes) -> None:
    """Do what Paramiko does with data of a channel's standard output, without a stop in its buffer where it need not be.

    Raises:
        SSHException: see `SinkBuffer.feed`.
    """
    buffer: Any = channel.in_buffer
    sink = buffer.sink if data and isinstance(buffer, SinkBuffer) and not buffer.chunks else None
    if sink is None or not sink.take(data):
        buffer.feed(data)
        return
    buffer.taken_bytes += len(data)
    if buffer.taken_bytes < _SMALL_CHANGE_BYTES:
        return
    taken, buffer.taken_bytes = buffer.taken_bytes, 0
    if more := _ANY_CHANNEL._check_add_window(channel, taken):  # noqa: SLF001 - docs/decisions/0005
        message = Message()
        message.add_byte(cMSG_CHANNEL_WINDOW_ADJUST)
        message.add_int(channel.remote_chanid)
        message.add_int(more)
        _send(channel, message)


def _send(channel: Channel, message: Message) -> None:
    transport: Any = channel.transport
    transport._send_user_message(message)  # noqa: SLF001 - docs/decisions/0005


def _buffer_of(channel: Channel) -> SinkBuffer:
    buffer: object = channel.in_buffer
    return buffer if isinstance(buffer, SinkBuffer) else SinkBuffer()


def _on_eof(channel: Channel, message: Message) -> None:
    _TABLE[MSG_CHANNEL_EOF](channel, message)
    buffer = _buffer_of(channel)
    buffer.has_ended = True
    if buffer.sink is not None:
        buffer.sink.input_ended()


def _on_close(channel: Channel, message: Message) -> None:
    _TABLE[MSG_CHANNEL_CLOSE](channel, message)
    buffer = _buffer_of(channel)
    buffer.is_closed = True
    if buffer.sink is not None:
        buffer.sink.closed()


def _on_window_adjust(channel: Channel, message: Message) -> None:
    _TABLE[MSG_CHANNEL_WINDOW_ADJUST](channel, message)
    sink = _buffer_of(channel).sink
    if sink is not None:
        sink.writable()


def _on_failure(channel: Channel, message: Message) -> None:
    _TABLE[MSG_CHANNEL_FAILURE](channel, message)
    sink = _buffer_of(channel).sink
    if sink is not None:
        sink.refused()


def _on_request(channel: Channel, message: Message) -> None:
    """Paramiko knows `exit-status` but not `exit-signal` (RFC 4254, 6.10)."""
    peek = Message(message.get_remainder())
    sink = _buffer_of(channel).sink
    if sink is not None and peek.get_text() == "exit-signal":
        peek.get_boolean()
        sink.killed(peek.get_text())
    _TABLE[MSG_CHANNEL_REQUEST](channel, message)


CHANNEL_HANDLERS: Final[dict[int, Callable[[Channel, Message], None]]] = {
    **_TABLE,
    MSG_CHANNEL_EOF: _on_eof,
    MSG_CHANNEL_CLOSE: _on_close,
    MSG_CHANNEL_WINDOW_ADJUST: _on_window_adjust,
    MSG_CHANNEL_FAILURE: _on_failure,
    MSG_CHANNEL_REQUEST: _on_request,
}
"""Paramiko's table of channel messages, with those that a sink hears of."""
