"""SSH's packets: read one by one on a thread of the connection's own until it is logged in, then out of a buffer that a reactor fills.

Paramiko's packetizer reads each packet with two blocking calls. From `take_over` on, this one is given what has arrived, and what cannot be
sent at once waits here until the reactor sends it. Only AES-GCM (RFC 5647), which iris prefers, is read this way.
"""

from __future__ import annotations

import random
import socket
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from paramiko.packet import Packetizer
from paramiko.ssh_exception import SSHException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paramiko.message import Message

_LENGTH: Final = struct.Struct(">I")
_HEAD: Final = struct.Struct(">IB")
_TAG_BYTES: Final = 16
_LENGTH_BYTES: Final = 4
_LONGEST_PACKET: Final = 1 << 18  # 32 KiB of data and their heads are usual; RFC 4253, 6.1 asks for 35,000 bytes
_OVERHEAD_BYTES: Final = _LENGTH_BYTES + _TAG_BYTES
_COUNTER_BYTES: Final = 8  # of the 12 of the initialization vector; the first four are fixed
_MUCH_UNSENT_BYTES: Final = 1 << 18
_LONGEST_GREETING: Final = 1 << 16
_READ_AHEAD_BYTES: Final = 1 << 15


class _Gathering:
    """A socket that is used seldom: it is asked for all that has come, not for the few bytes that Paramiko wants next.

    Args:
        sock: the socket, or a channel of a gateway.

    Attributes:
        holds: whether what is sent waits until something must be read. Only where one thread does both.
    """

    def __init__(self, sock: Any) -> None:
        self.holds = False
        self._sock = sock
        self._read = b""
        self._unsent = b""

    @property
    def has_read(self) -> bool:
        """Whether something has come that was not asked for yet."""
        return bool(self._read)

    def recv(self, size: int) -> bytes:
        """As a socket's."""
        if not self._read:
            self.flush()
            self._read = self._sock.recv(_READ_AHEAD_BYTES)
        data, self._read = self._read[:size], self._read[size:]
        return data

    def send(self, data: bytes) -> int:
        """As a socket's."""
        if not self.holds:
            sent: int = self._sock.send(data)
            return sent
        self._unsent += data
        return len(data)

    def flush(self) -> None:
        """Send what waits.

        Raises:
            EOFError: the connection is gone; as Paramiko has it.
        """
        if self._unsent:
            data, self._unsent = self._unsent, b""
            try:
                self._sock.sendall(data)
            except OSError as error:
                raise EOFError from error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class IrisPacketizer(Packetizer):
    """A packetizer that can be closed at once, starts no timer thread, notes that the peer lives, and can be taken over by a reactor.

    Attributes:
        heard_at: when a packet was read last, in seconds of `time.monotonic`; at first, when this was made.
        unread: the beginning of a packet that has not come whole yet. Only after `take_over`.
    """

    # What is looked at for each packet, side by side: the base class has so many attributes that a look into its dict is dear.
    __slots__ = ("_aead", "_compressed", "_iv", "_iv_counter", "_received", "_seqno", "_unsent", "heard_at", "unread")

    def __init__(self, sock: Any) -> None:
        gathering: Any = _Gathering(sock)
        super().__init__(gathering)
        self._gathering: _Gathering = gathering
        self.heard_at = time.monotonic()
        self.unread = b""
        self._sock = sock
        self._seqno = 0
        self._aead: Any = None
        self._iv = b""
        self._iv_counter = 0
        self._compressed = False
        self._greeting_bytes = 0
        self._padded_to = 0  # what AES-GCM wants; 0 with any other cipher
        self._received = 0
        self._lock = threading.Lock()  # for what follows
        self._unsent: list[bytes] | None = None  # None: not taken over
        self._unsent_bytes = 0
        self._waiting: list[threading.Event] = []  # for less to be unsent
        self._wants_to_send: Callable[[], None] = lambda: None

    # While one thread waits for each packet.

    def hold_back(self) -> None:
        """Let what is sent wait until something must be read. Only where one thread does both."""
        self._gathering.holds = True

    def let_go(self) -> None:
        """Send what waits, and whatever is sent from now on at once."""
        self._gathering.holds = False
        self._gathering.flush()

    def start_handshake(self, timeout: float) -> None:
        """Do nothing: iris bounds the whole of connecting, and Paramiko's timer would outlive a failed attempt."""

    def read_message(self) -> tuple[int, Message]:
        """Read a packet."""
        result: tuple[int, Message] = super().read_message()
        self.heard_at = time.monotonic()
        self._seqno += 1
        self._iv_counter += 1
        return result

    def read_all(self, n: int, check_rekey: bool = False) -> bytes:  # noqa: FBT001, FBT002 - Paramiko's
        """As Paramiko's, which believes every length. This one may come from anybody: the host's key is not known yet.

        Raises:
            SSHException: no packet is so long.
        """
        if n > _LONGEST_PACKET + _OVERHEAD_BYTES:
            raise SSHException(f"The host sent a packet of {n} bytes")
        read: bytes = super().read_all(n, check_rekey)
        return read

    def _read_timeout(self, timeout: float) -> bytes:
        """As Paramiko's, for the lines before the first packet.

        Raises:
            SSHException: they do not end.
        """
        read: bytes = super()._read_timeout(timeout)  # type: ignore[misc] # not in the stubs
        self._greeting_bytes += len(read)
        if self._greeting_bytes > _LONGEST_GREETING:
            raise SSHException("The host speaks, but not SSH")
        return read

    def reset_seqno_in(self) -> None:
        """Count packets from 0 again."""
        super().reset_seqno_in()
        self._seqno = 0

    def set_inbound_cipher(self, *args: Any, **kwargs: Any) -> None:
        """Read with another key from the next packet on."""
        super().set_inbound_cipher(*args, **kwargs)
        self._aead = kwargs["block_engine"] if kwargs.get("aead") else None
        iv = kwargs.get("iv_in") or b""
        self._iv, self._iv_counter = iv[:-_COUNTER_BYTES], int.from_bytes(iv[-_COUNTER_BYTES:], "big")
        self._received = 0

    def set_outbound_cipher(self, block_engine: Any, block_size: int, *args: Any, **kwargs: Any) -> None:
        """Write with another key from the next packet on."""
        super().set_outbound_cipher(block_engine, block_size, *args, **kwargs)
        self._padded_to = block_size if kwargs.get("aead") else 0

    def _build_packet(self, payload: bytes) -> bytes:
        """As Paramiko's (RFC 4253, 6), which asks the system for the random bytes of each padding."""
        if not self._padded_to:
            whole: bytes = super()._build_packet(payload)  # type: ignore[misc] # not in the stubs
            return whole
        padding = 3 + self._padded_to - (len(payload) + _LENGTH_BYTES) % self._padded_to
        filling = random.randbytes(padding)  # noqa: S311 - it is encrypted, and says nothing
        return b"".join((_HEAD.pack(len(payload) + padding + 1, padding), payload, filling))

    def set_inbound_compressor(self, compressor: Any) -> None:
        """Read compressed packets from now on."""
        super().set_inbound_compressor(compressor)
        self._compressed = True

    def close(self) -> None:
        """Close, and wake the threads that wait in `recv` or `send`; `close` of a socket alone does not."""
        if isinstance(self._sock, socket.socket):
            with suppress(OSError):
                self._sock.shutdown(socket.SHUT_RDWR)
        super().close()
        with self._lock:
            self._wake()

    # Once it is a reactor's.

    @property
    def can_be_taken_over(self) -> bool:
        """Whether what arrives can be read by `packets`: a cipher that it knows, and no compression."""
        return self._aead is not None and not self._compressed

    @property
    def has_more(self) -> bool:
        """Whether a packet, or a part of one, has come that was not asked for yet. Only before `take_over`."""
        return self._gathering.has_read

    def take_over(self, wants_to_send: Callable[[], None]) -> socket.socket:
        """Let the caller read and send from now on; `wants_to_send` is called, on any thread, when `send_unsent` has something to do.

        Returns:
            the socket, which blocks no more, and which nobody else can close: those who hold the one before hold an empty shell.
        """
        with self._lock:
            sock = socket.socket(fileno=self._sock.detach())
            sock.settimeout(0.0)
            self._sock = sock
            self._unsent = []
            self._wants_to_send = wants_to_send
        return sock

    def packets(self, view: memoryview) -> Iterator[tuple[int, bytes]]:
        """Decrypt the packets that are whole in `view`; the rest is `unread` afterwards.

        Each is to be dealt with before the next is asked for, which may have another key.

        Yields:
            the size of padding's length, payload and padding together, and these, decrypted: the payload's first byte is at index 1.

        Raises:
            SSHException: a packet that cannot be, or the peer does not do its part of a key exchange.
            cryptography.exceptions.InvalidTag: a packet that was tampered with.
        """
        at, end = 0, len(view)
        while end - at >= _LENGTH_BYTES:
            [size] = _LENGTH.unpack_from(view, at)
            if not 0 < size <= _LONGEST_PACKET:
                raise SSHException(f"The host sent a packet of {size} bytes")
            after = at + size + _OVERHEAD_BYTES
            if after > end:
                break
            aead = self._aead
            if aead is None or self._compressed:
                raise SSHException("The host changed the cipher's kind in a key exchange")
            iv = self._iv + self._iv_counter.to_bytes(_COUNTER_BYTES, "big")
            plain: bytes = aead.decrypt(iv, view[at + _LENGTH_BYTES : after], view[at : at + _LENGTH_BYTES])
            at = after
            self._iv_counter = (self._iv_counter + 1) & 0xFFFF_FFFF_FFFF_FFFF
            self._seqno = (self._seqno + 1) & 0xFFFF_FFFF
            self._received += size + _OVERHEAD_BYTES
            if self._received >= self.REKEY_BYTES:
                self._want_new_keys()
            yield size, plain
        self.unread = bytes(view[at:])
        self.heard_at = time.monotonic()

    @property
    def seqno(self) -> int:
        """The sequence number of the packet that was read last."""
        return (self._seqno - 1) & 0xFFFF_FFFF

    def write_all(self, out: Any) -> None:
        """Send, or keep for `send_unsent`.

        Raises:
            EOFError: the connection is gone.
        """
        with self._lock:
            if self._unsent is None:
                super().write_all(out)
                return
            sent = 0
            if not self._unsent:
                try:
                    sent = self._sock.send(out)
                except BlockingIOError:
                    pass
                except OSError as error:
                    raise EOFError from error
            if sent == len(out):
                return
            self._unsent.append(out[sent:])
            self._unsent_bytes += len(out) - sent
        self._wants_to_send()

    def send_unsent(self) -> bool:
        """Send what had to wait; returns whether that was all.

        Raises:
            OSError: the connection is gone.
        """
        if not self._unsent:
            return True
        with self._lock:
            while self._unsent:
                out = self._unsent.pop(0)
                try:
                    sent = self._sock.send(out)
                except BlockingIOError:
                    sent = 0
                self._unsent_bytes -= sent
                if sent < len(out):
                    self._unsent.insert(0, out[sent:])
                    break
            if not self.much_unsent:
                self._wake()
            return not self._unsent

    @property
    def much_unsent(self) -> bool:
        """Whether so much waits to be sent that more must wait elsewhere."""
        return self._unsent_bytes > _MUCH_UNSENT_BYTES

    def wait_to_send(self) -> None:
        """Wait while there is much to be sent. Never on the thread that sends it, nor with a lock held that it takes."""
        while True:
            with self._lock:
                if self.closed or not self.much_unsent:
                    return
                less = threading.Event()
                self._waiting.append(less)
            less.wait()

    def _wake(self) -> None:
        while self._waiting:
            self._waiting.pop().set()

    def _want_new_keys(self) -> None:
        if not self.need_rekey():
            self._trigger_rekey()  # type: ignore[attr-defined] # not in the stubs
            # What comes from here on, the peer sends although it should exchange keys.
            self._received = self.REKEY_BYTES
        elif self._received >= self.REKEY_BYTES + self.REKEY_BYTES_OVERFLOW_MAX:
            raise SSHException("The host ignores that the keys must be exchanged")
