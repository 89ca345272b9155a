"""What a transport that a reactor reads does with the messages of one read."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import pytest
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EOF
from paramiko.ssh_exception import SSHException

from iris_adapters.ssh.adopted import AdoptedTransport
from iris_adapters.ssh.sinks import SinkBuffer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paramiko.message import Message


def packet(kind: int, channel: int, payload: bytes = b"") -> tuple[int, bytes]:
    """A decrypted packet without padding, as `IrisPacketizer.packets` yields it."""
    length = struct.pack(">I", len(payload)) if kind == MSG_CHANNEL_DATA else b""
    body = struct.pack(">BI", kind, channel) + length + payload
    return len(body) + 1, b"\0" + body


class Packets:
    """A packetizer that has these packets at once."""

    unread = b""

    def __init__(self, sock: socket.socket, packets: list[tuple[int, bytes]]) -> None:
        self._sock = sock
        self._packets = packets

    def take_over(self, _wants_to_send: object) -> socket.socket:
        return self._sock

    def packets(self, _view: object) -> Iterator[tuple[int, bytes]]:
        yield from self._packets

    def need_rekey(self) -> bool:
        return False


class Channel:
    closed = False

    def __init__(self) -> None:
        self.in_buffer = SinkBuffer()
        self.bytes_at_eof = -1

    def end(self, _message: Message) -> None:
        self.bytes_at_eof = len(self.in_buffer)


GONE = 7  # a channel that there was


class Transport:
    active = True
    in_kex = False
    _expected_packet = ()

    def __init__(self, channels: dict[int, Channel]) -> None:
        self._channels = channels
        self.auth_handler = None
        self._handler_table: dict[int, object] = {}
        self._channel_handler_table = {MSG_CHANNEL_EOF: Channel.end}
        self.channels_seen = {*channels, GONE}


def read(packets: list[tuple[int, bytes]], channels: dict[int, Channel]) -> None:
    """Have a transport with these channels read these packets."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"what the packets came as")
        packetizer: Any = Packets(ours, packets)
        reactor: Any = None
        AdoptedTransport(Transport(channels), packetizer, reactor).read(memoryview(bytearray(1 << 20)))


def test_each_channel_gets_its_own_bytes_and_before_what_follows_them() -> None:
    """Those of one channel in a row are joined; another one's, and any other message, come after them."""
    one, two = Channel(), Channel()
    said = [(1, b"a"), (1, b"b"), (2, b"C"), (1, b"d"), (2, b"E"), (1, b"f")]
    packets: Any = [packet(MSG_CHANNEL_DATA, channel, payload) for channel, payload in said]
    packets += [packet(MSG_CHANNEL_EOF, 1), packet(MSG_CHANNEL_DATA, 2, b"G")]

    read(packets, {1: one, 2: two})

    assert b"".join(iter(lambda: one.in_buffer.read(100), b"")) == b"abdf"
    assert b"".join(iter(lambda: two.in_buffer.read(100), b"")) == b"CEG"
    assert one.bytes_at_eof == 4


def test_data_of_a_channel_that_is_gone_is_passed_over_and_of_one_that_never_was_ends_the_connection() -> None:
    """The first was on its way when we closed it."""
    one = Channel()
    read([packet(MSG_CHANNEL_DATA, GONE, b"late"), packet(MSG_CHANNEL_DATA, 1, b"a")], {1: one})
    assert one.in_buffer.read(100) == b"a"

    with pytest.raises(SSHException, match="channel 9, which was never opened"):
        read([packet(MSG_CHANNEL_DATA, 9, b"?")], {1: one})
