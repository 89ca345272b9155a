"""What iris changes in Paramiko's transport: closing at once, re-keying without deadlock, signs of life, and sinks.

A channel's bytes are handed over on the transport's own thread (no reader thread for each stream): Paramiko calls `feed` of
the channel's buffers, and iris puts buffers of its own there. Whatever else a channel needs to hear goes through the table
by which Paramiko dispatches channel messages. Written against Paramiko 5.1; the contract and re-key tests guard it.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol

from paramiko.common import (
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
    cMSG_GLOBAL_REQUEST,
)
from paramiko.message import Message
from paramiko.packet import Packetizer
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from paramiko.channel import Channel

LOGGER: Final = logging.getLogger("iris_adapters.ssh.paramiko")
# Paramiko logs every lost connection as an error with its traceback; iris reports it as an error of its own.
LOGGER.setLevel(logging.CRITICAL)

_QUICK_CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes192-ctr", "aes256-ctr")
_POLL_SECONDS: Final = 0.1
_LONG_POLL_SECONDS: Final = 10.0


class ChannelSink(Protocol):
    """What hears of a channel. All but `readable` are called on the transport's thread, none with a channel's lock held."""

    def readable(self) -> None:
        """There is something to `recv` that was not there before."""

    def input_ended(self) -> None:
        """The far side sends no more data; what arrived before may still be waiting."""

    def writable(self) -> None:
        """The far side takes more data."""

    def killed(self, signal_name: str) -> None:
        """The process was ended by this signal (`TERM`)."""

    def closed(self) -> None:
        """The far side closed the channel, in order: everything it had to say has arrived."""

    def connection_ended(self) -> None:
        """The connection is gone, and the channel with it."""


class SinkBuffer:
    """Takes the place of a channel's `BufferedPipe`: never blocks, and tells its sink of every arrival."""

    def __init__(self) -> None:
        self.sink: ChannelSink | None = None
        self.has_ended = False
        self.is_closed = False
        self._chunks: deque[bytes] = deque()

    def feed(self, data: bytes) -> None:
        """Called by the channel with what has arrived."""
        if data:
            self._chunks.append(data)
            if self.sink is not None:
                self.sink.readable()

    def read(self, nbytes: int, _timeout: float | None = None) -> bytes:
        """Called by `Channel.recv`, which then opens the window again by as much. Empty: nothing is there."""
        try:
            chunk = self._chunks.popleft()
        except IndexError:
            return b""
        if len(chunk) > nbytes:
            self._chunks.appendleft(chunk[nbytes:])
            return chunk[:nbytes]
        return chunk

    def read_ready(self) -> bool:
        """Whether `read` would return something."""
        return bool(self._chunks)

    def close(self) -> None:
        """Called by the channel with its lock held, so nothing is done here: the handlers below tell the sink later."""

    def __len__(self) -> int:
        return sum(map(len, self._chunks))


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
_TABLE: Final[Mapping[int, Callable[[Channel, Message], None]]] = _PARAMIKO._channel_handler_table  # noqa: SLF001 - see the top


def close_quietly(channel: Channel) -> None:
    """Close it. Where the connection is on its way out, that cannot be said to the far side, and need not be."""
    with suppress(SSHException, EOFError, OSError):
        channel.close()


def _paramikos(number: int) -> Callable[[Channel, Message], None]:
    return _TABLE[number]


def _buffer_of(channel: Channel) -> SinkBuffer:
    buffer: object = channel.in_buffer
    return buffer if isinstance(buffer, SinkBuffer) else SinkBuffer()


def _on_eof(channel: Channel, message: Message) -> None:
    _paramikos(MSG_CHANNEL_EOF)(channel, message)
    buffer = _buffer_of(channel)
    buffer.has_ended = True
    if buffer.sink is not None:
        buffer.sink.input_ended()


def _on_close(channel: Channel, message: Message) -> None:
    _paramikos(MSG_CHANNEL_CLOSE)(channel, message)
    buffer = _buffer_of(channel)
    buffer.is_closed = True
    if buffer.sink is not None:
        buffer.sink.closed()


def _on_window_adjust(channel: Channel, message: Message) -> None:
    _paramikos(MSG_CHANNEL_WINDOW_ADJUST)(channel, message)
    sink = _buffer_of(channel).sink
    if sink is not None:
        sink.writable()


def _on_request(channel: Channel, message: Message) -> None:
    """Paramiko knows `exit-status` but not `exit-signal` (RFC 4254, 6.10)."""
    peek = Message(message.get_remainder())
    sink = _buffer_of(channel).sink
    if sink is not None and peek.get_text() == "exit-signal":
        peek.get_boolean()
        sink.killed(peek.get_text())
    _paramikos(MSG_CHANNEL_REQUEST)(channel, message)


class IrisPacketizer(Packetizer):
    """A packetizer that can be closed at once, starts no timer thread, and notes that the peer lives."""

    heard = False

    def __init__(self, sock: Any) -> None:
        super().__init__(sock)
        self._sock = sock

    def start_handshake(self, timeout: float) -> None:
        """Do nothing: iris bounds the whole of connecting, and Paramiko's timer would outlive a failed attempt."""

    def read_message(self) -> tuple[int, Message]:
        """Read a packet."""
        result: tuple[int, Message] = super().read_message()
        self.heard = True
        return result

    def close(self) -> None:
        """Close, and wake the threads that wait in `recv` or `send`; `close` of a socket alone does not."""
        if isinstance(self._sock, socket.socket):
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        super().close()


class IrisTransport(Transport):
    """One SSH connection.

    Args:
        sock: a connected socket, or a channel of a gateway.
        ended: called on the transport's thread when the connection is over, however it ended.
        is_gateway: its channels are read by Paramiko itself, as another connection's socket; no sinks.
        disabled_algorithms: as in Paramiko.
    """

    _channel_handler_table: ClassVar[dict[int, Callable[[Channel, Message], None]]] = {
        **_TABLE,
        MSG_CHANNEL_EOF: _on_eof,
        MSG_CHANNEL_CLOSE: _on_close,
        MSG_CHANNEL_WINDOW_ADJUST: _on_window_adjust,
        MSG_CHANNEL_REQUEST: _on_request,
    }

    def __init__(
        self,
        sock: Any,
        *,
        ended: Callable[[], None] = lambda: None,
        is_gateway: bool = False,
        disabled_algorithms: dict[str, Iterable[str]] | None = None,
    ) -> None:
        # A real socket is woken by shutdown, so its thread need not look ten times a second whether it was closed.
        self._active_check_timeout = _LONG_POLL_SECONDS if isinstance(sock, socket.socket) else _POLL_SECONDS
        super().__init__(sock, disabled_algorithms=disabled_algorithms, packetizer_class=IrisPacketizer)
        self._ended = ended
        self._is_gateway = is_gateway
        self._held_back: deque[Message] = deque()
        self.set_log_channel(LOGGER.name)
        self.get_security_options().ciphers = _QUICK_CIPHERS

    @property
    def heard(self) -> bool:
        """Whether a packet has arrived since this was last read."""
        packetizer: Any = self.packetizer  # an IrisPacketizer
        heard, packetizer.heard = packetizer.heard, False
        return bool(heard)

    def ask_for_answer(self) -> None:
        """Send a request that every SSH server must answer, if only with a refusal. Does not wait for the answer."""
        message = Message()
        message.add_byte(cMSG_GLOBAL_REQUEST)
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)  # noqa: FBT003 - the wire's "want reply"
        with suppress(SSHException, EOFError, OSError):  # whoever waits for the answer will notice
            self._send_user_message(message)

    def run(self) -> None:
        """Be the connection's thread."""
        try:
            super().run()
        finally:
            self._ended()

    def _send_user_message(self, data: Message) -> None:
        """Send now, or after the key exchange that is under way.

        Paramiko waits here for the exchange to end, also on the one thread that could bring it to an end (when a channel
        closes, for one). That is the deadlock by which a re-key near a stream's end kills the connection after 30 s.
        """
        if threading.current_thread() is self and not self.clear_to_send.is_set():
            self._held_back.append(data)
        else:
            super()._send_user_message(data)  # type: ignore[misc] # not in the stubs

    def _parse_channel_open_success(self, m: Message) -> None:
        """Give the channel its buffers before the far side can have sent anything on it."""
        channel: Any = self._channels.get(  # type: ignore[attr-defined] # not in the stubs
            Message(m.get_remainder()).get_int()
        )
        if channel is not None and not self._is_gateway:
            channel.in_buffer, channel.in_stderr_buffer = SinkBuffer(), SinkBuffer()
        super()._parse_channel_open_success(m)  # type: ignore[misc] # not in the stubs

    def _parse_newkeys(self, m: Message) -> None:
        super()._parse_newkeys(m)  # type: ignore[misc] # not in the stubs
        while self._held_back:
            super()._send_user_message(self._held_back.popleft())  # type: ignore[misc] # not in the stubs
