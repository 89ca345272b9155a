"""A Paramiko transport that a reactor reads: what Paramiko's own thread does with each message, and at the end."""

from __future__ import annotations

import struct
import threading
from typing import TYPE_CHECKING, Any, Final

from paramiko.common import MSG_CHANNEL_DATA
from paramiko.message import Message

from iris_adapters.ssh.errors import let_go
from iris_adapters.ssh.messages import end_transport, expect_seen, start_due_exchange, take
from iris_adapters.ssh.reactor import READ_BYTES
from iris_adapters.ssh.sinks import take_data

if TYPE_CHECKING:
    from collections.abc import Callable

    from paramiko.channel import Channel

    from iris_adapters.ssh.packets import IrisPacketizer
    from iris_adapters.ssh.reactor import Reactor

_KIND_AT: Final = 1  # in a packet, after the length of its padding
_DATA_HEAD: Final = struct.Struct(">II")
_DATA_AT: Final = 10  # in one of channel data: after its kind, the channel's number and the data's length
_LARGE_BYTES: Final = 4096  # of a piece: to copy it once more costs more than its way
_NOBODY_ACCEPTS: Final = threading.Condition()


class AdoptedTransport:
    """Implements `reactor.Connection` for a transport that is logged in.

    Args:
        transport: an `IrisTransport` whose thread has stopped reading between two packets.
        packets: its packetizer.
        reactor: calls this object from now on.

    Attributes:
        sock: see `reactor.Connection`.
    """

    __slots__ = ("_channel", "_channel_number", "_packets", "_pieces", "_reactor", "_transport", "sock")

    def __init__(self, transport: Any, packets: IrisPacketizer, reactor: Reactor) -> None:
        self._transport = transport
        self._packets = packets
        self._reactor = reactor
        self._channel: Channel | None = None  # that spoke last: most often there is only one
        self._channel_number = -1
        self._pieces: list[bytes] = []  # of what that said, and nobody was told yet
        self.sock = packets.take_over(self.wants_to_send)
        # What only the first exchange wanted, and what only a server waits with: some kilobytes, a thousand times.
        transport.server_accept_cv = _NOBODY_ACCEPTS
        transport.completion_event = transport._latest_kex_init = None  # noqa: SLF001 - docs/decisions/0005

    # From any thread.

    def wants_to_send(self) -> None:
        """Have `write` called."""
        self._reactor.look_at(self)

    def call_soon(self, call: Callable[[], None]) -> bool:
        """Have `call` made on the thread that reads the transport; returns whether there is one."""
        return self._reactor.call_soon(call)

    def end(self) -> None:
        """End the connection soon."""
        self._reactor.end(self)

    # What the reactor calls.

    def read(self, buffer: memoryview) -> int:
        """See `reactor.Connection`.

        Raises:
            EOFError: the peer closed the connection, or said goodbye.
            OSError, SSHException, cryptography.exceptions.InvalidTag: it is broken.
        """
        transport, packets = self._transport, self._packets
        kept = len(packets.unread)
        buffer[:kept] = packets.unread
        try:
            count = self.sock.recv_into(buffer[kept : kept + READ_BYTES])
        except BlockingIOError:
            return 0
        if count == 0:
            raise EOFError
        try:
            for size, plain in packets.packets(buffer[: kept + count]):
                if plain[_KIND_AT] == MSG_CHANNEL_DATA and not transport._expected_packet:  # noqa: SLF001 - docs/decisions/0005
                    self._take_data(plain)
                else:
                    self._hand_over_data()
                    take(transport, packets, plain[_KIND_AT], Message(plain[_KIND_AT + 1 : size - plain[0]]))
                if not transport.active:
                    raise EOFError
        finally:
            self._hand_over_data()
        start_due_exchange(transport, packets)
        return count

    def write(self) -> bool:
        """See `reactor.Connection`."""
        start_due_exchange(self._transport, self._packets)
        return self._packets.send_unsent()

    @property
    def may_read(self) -> bool:
        """See `reactor.Connection`."""
        return not self._packets.much_unsent

    def ended(self, error: Exception | None) -> None:
        """See `reactor.Connection`. Lets go of the transport, so that it is freed with the last who uses it."""
        transport = self._transport
        del self._transport, self._packets, self._channel
        if error is not None:
            let_go(error)
        end_transport(transport, error)
        transport.tell_ended()

    def _take_data(self, plain: bytes) -> None:
        """The message of which there are millions, a channel's data: without a `Message` for it."""
        number, length = _DATA_HEAD.unpack_from(plain, _KIND_AT + 1)
        if number != self._channel_number or self._channel is None or self._channel.closed:
            self._hand_over_data()
            self._channel = self._transport._channels.get(number)  # noqa: SLF001 - docs/decisions/0005
            self._channel_number = number
            if self._channel is None:
                expect_seen(self._transport, number)
        self._pieces.append(plain[_DATA_AT : _DATA_AT + length])
        if length >= _LARGE_BYTES:
            self._hand_over_data()

    def _hand_over_data(self) -> None:
        """Tell a channel all small pieces that it has said in a row: joined here, they are one at each step of their way."""
        if not self._pieces:
            return
        data = b"".join(self._pieces)
        self._pieces.clear()
        if self._channel is not None:
            take_data(self._channel, data)
