"""Packets out of a reactor's buffer: whole ones, cut ones, foreign ones, and what is sent to a peer that does not read."""

from __future__ import annotations

import os
import random
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from paramiko.message import Message
from paramiko.packet import Packetizer
from paramiko.ssh_exception import SSHException

from iris_adapters.ssh.packets import IrisPacketizer

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY, IV = bytes(range(16)), b"four" + bytes(7) + b"\xfd"  # its counter carries after three packets


@pytest.fixture
def peer() -> Iterator[socket.socket]:
    """The other end of `reader`'s socket."""
    theirs, ours = socket.socketpair()
    peers[theirs] = ours
    with theirs, ours:
        yield theirs


peers: dict[socket.socket, socket.socket] = {}


@pytest.fixture
def reader(peer: socket.socket) -> Iterator[IrisPacketizer]:
    packetizer = IrisPacketizer(peers.pop(peer))
    use_key(packetizer)
    sock = packetizer.take_over(lambda: None)
    yield packetizer
    sock.close()


def use_key(packetizer: IrisPacketizer, key: bytes = KEY) -> None:
    any_packetizer: Any = packetizer
    any_packetizer.set_inbound_cipher(
        block_engine=AESGCM(key), block_size=16, mac_engine=None, mac_size=16, mac_key=None, aead=True, iv_in=IV
    )


def encrypted(*payloads: bytes) -> bytes:
    """As Paramiko's own packetizer sends them."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        writer: Any = Packetizer(ours)
        writer.set_outbound_cipher(AESGCM(KEY), 16, None, 16, None, aead=True, iv_out=IV)
        sent = bytearray()
        for payload in payloads:
            message = Message()
            message.add_bytes(payload)
            writer.send_message(message)
            theirs.settimeout(0.0)
            sent += theirs.recv(1 << 20)
        return bytes(sent)


def read(reader: IrisPacketizer, data: bytes) -> list[bytes]:
    view = memoryview(bytearray(reader.unread + data))
    return [plain[1 : size - plain[0]] for size, plain in reader.packets(view)]


@pytest.mark.parametrize("seed", range(5))
def test_packets_cut_anywhere_come_whole_and_in_order(reader: IrisPacketizer, seed: int) -> None:
    """Also over a carry of the counter in the vector."""
    source = random.Random(seed)  # noqa: S311 - to be the same each time
    payloads = [bytes([94]) + source.randbytes(source.choice([0, 1, 15, 16, 120, 5000])) for _ in range(20)]
    data = encrypted(*payloads)
    cuts = sorted(source.sample(range(len(data)), 12))

    before = time.monotonic()
    got = [
        payload
        for begin, end in zip([0, *cuts], [*cuts, len(data)], strict=True)
        for payload in read(reader, data[begin:end])
    ]

    assert got == payloads
    assert (reader.unread, reader.seqno) == (b"", len(payloads) - 1)
    assert before <= reader.heard_at <= time.monotonic()


def test_a_key_that_changes_between_two_packets_counts_from_the_next(reader: IrisPacketizer) -> None:
    """A key exchange is dealt with before the next packet is decrypted."""
    first, second = encrypted(b"newkeys"), encrypted(b"after")
    got = []

    for size, plain in reader.packets(memoryview(bytearray(first + second))):
        got.append(plain[1 : size - plain[0]])
        use_key(reader)

    assert got == [b"newkeys", b"after"]


@pytest.mark.parametrize("size", [0, 1 << 19, 0xFFFF_FFFF])
def test_a_packet_of_senseless_size_is_refused(reader: IrisPacketizer, size: int) -> None:
    """Nothing is ever kept for it."""
    with pytest.raises(SSHException, match=f"packet of {size} bytes"):
        read(reader, size.to_bytes(4, "big") + os.urandom(100))


def test_a_packet_that_was_tampered_with_is_refused(reader: IrisPacketizer) -> None:
    """GCM's tag says so."""
    data = bytearray(encrypted(b"payload"))
    data[10] ^= 1
    with pytest.raises(InvalidTag):
        read(reader, bytes(data))


def test_new_keys_are_asked_for_at_the_limit_and_a_peer_that_ignores_it_is_left(
    reader: IrisPacketizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After as many bytes as Paramiko allows it."""
    monkeypatch.setattr(Packetizer, "REKEY_BYTES", 10_000)
    monkeypatch.setattr(Packetizer, "REKEY_BYTES_OVERFLOW_MAX", 5_000)
    data = encrypted(*[bytes(1000)] * 20)
    packet = len(data) // 20

    read(reader, data[: 9 * packet])
    before = reader.need_rekey()
    read(reader, data[9 * packet : 10 * packet])

    assert (before, reader.need_rekey()) == (False, True)
    with pytest.raises(SSHException, match="keys must be exchanged"):
        read(reader, data[10 * packet :])


def test_what_a_peer_does_not_read_waits_and_then_writers_wait(peer: socket.socket, reader: IrisPacketizer) -> None:
    """On the thread that sends, nothing ever blocks; others wait until the peer reads again."""
    sent = os.urandom(4 << 20)
    reader.write_all(sent)
    assert reader.much_unsent
    waiting = threading.Thread(target=reader.wait_to_send)
    waiting.start()

    peer.settimeout(0.0)
    got = bytearray()
    all_sent = False
    while not all_sent or len(got) < len(sent):
        got += peer.recv(1 << 20)
        all_sent = reader.send_unsent() and not reader.much_unsent

    waiting.join(5)
    assert not waiting.is_alive()
    assert bytes(got) == sent


def test_a_writer_that_waits_hears_of_the_end(reader: IrisPacketizer) -> None:
    """It does not wait for ever."""
    reader.write_all(bytes(4 << 20))
    waiting = threading.Thread(target=reader.wait_to_send)
    waiting.start()

    reader.close()

    waiting.join(5)
    assert not waiting.is_alive()


def test_before_the_first_key_no_length_is_believed_that_no_packet_has() -> None:
    """Whoever answers on that address could fill our memory otherwise; Paramiko reads 4 GiB."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall((0xFFFFFFFC).to_bytes(4, "big") + bytes(100))
        with pytest.raises(SSHException, match=r"a packet of 42949672\d\d bytes"):
            IrisPacketizer(ours).read_message()


def test_lines_before_the_first_packet_end() -> None:
    """A server of something else may send on and on without one."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(bytes(1 << 17))
        with pytest.raises(SSHException, match="not SSH"):
            IrisPacketizer(ours).readline(5.0)
