"""What iris changes in Paramiko's transport: read by a reactor, closing at once, re-keying without deadlock, signs of life, and sinks.

Paramiko gives each connection a thread. Here who logs in reads it, until that is done; then a reactor reads all of them. Written against
Paramiko 5.1: docs/decisions/0005 lists what is relied on, and the contract, re-key and reactor tests guard it.
"""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from paramiko.auth_handler import AuthHandler
from paramiko.common import (
    CONNECTION_FAILED_CODE,
    MSG_CHANNEL_CLOSE,
    MSG_CHANNEL_DATA,
    MSG_CHANNEL_EOF,
    MSG_CHANNEL_EXTENDED_DATA,
    MSG_CHANNEL_REQUEST,
    MSG_CHANNEL_WINDOW_ADJUST,
    MSG_KEXINIT,
    cMSG_CHANNEL_OPEN,
    cMSG_GLOBAL_REQUEST,
)
from paramiko.message import Message
from paramiko.packet import NeedRekeyException
from paramiko.ssh_exception import ChannelException, PartialAuthentication, SSHException

from iris_adapters.ssh.adopted import AdoptedTransport
from iris_adapters.ssh.key_exchange import QuickKeyExchange
from iris_adapters.ssh.messages import end_transport, start_due_exchange, take
from iris_adapters.ssh.packets import IrisPacketizer
from iris_adapters.ssh.sinks import CHANNEL_HANDLERS, WINDOW_BYTES, CommandChannel, SinkBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from paramiko.channel import Channel

    from iris_adapters.ssh.reactor import Reactor

_LENGTH: Final = struct.Struct(">I")
_NUMBERS: Final = struct.Struct(">III")
_RESERVED: Final = bytes(8)  # an empty string, and 0
_POLL_SECONDS: Final = 0.1
_LONG_POLL_SECONDS: Final = 10.0
_MOST_HELD_BACK: Final = 4096  # messages
_IN_A_CHANNEL: Final = frozenset(
    {MSG_CHANNEL_WINDOW_ADJUST, MSG_CHANNEL_DATA, MSG_CHANNEL_EXTENDED_DATA, MSG_CHANNEL_EOF, MSG_CHANNEL_REQUEST}
)
_MOST_EXTENSIONS: Final = 1024  # as OpenSSH


def _nobody_hears() -> None:
    """Nobody wants to know that it is over, or all know."""


class LoginEndedError(EOFError):
    """The host ended the connection while we logged in; why, if it said so."""


class _Opening(NamedTuple):
    channel: Channel
    opened: Callable[[Channel], None]
    refused: Callable[[SSHException], None]


class _ReadingAuthHandler(AuthHandler):
    """One whose answers nobody reads but who waits for them."""

    def wait_for_response(self, event: threading.Event) -> list[str]:
        """As Paramiko's, which takes a connection that breaks for a refusal of one key, and offers the next.

        Raises:
            LoginEndedError: the host hung up.
            OSError: the connection broke.
        """
        transport: Any = self.transport
        try:
            transport.read_until(event.is_set)
        except EOFError as error:
            raise LoginEndedError(*error.args) from error
        except OSError:
            raise
        except Exception:  # noqa: BLE001, S110 - Paramiko tells
            pass
        return super().wait_for_response(event)


class IrisTransport(QuickKeyExchange):
    """One SSH connection.

    Args:
        sock: a connected socket, or a channel of a gateway.
        ended: called when the connection is over that was logged in, however it ended, on the thread that read it.
        is_gateway: its channels are read by Paramiko itself, as another connection's socket; no sinks.
        reactor: reads it once it is handed over. It has a thread of its own without one, and where a reactor cannot read it: the socket
            is a gateway's channel, or the peer has no AES-GCM.
        disabled_algorithms: as in Paramiko.
    """

    _channel_handler_table: ClassVar[dict[int, Callable[[Channel, Message], None]]] = CHANNEL_HANDLERS

    def __init__(
        self,
        sock: Any,
        *,
        ended: Callable[[], None] = _nobody_hears,
        is_gateway: bool = False,
        reactor: Reactor | None = None,
        disabled_algorithms: dict[str, Iterable[str]] | None = None,
    ) -> None:
        # A real socket is woken by shutdown, so its thread need not look ten times a second whether it was closed.
        self._active_check_timeout = _LONG_POLL_SECONDS if isinstance(sock, socket.socket) else _POLL_SECONDS
        super().__init__(
            sock,
            default_window_size=WINDOW_BYTES,
            disabled_algorithms=disabled_algorithms,
            packetizer_class=IrisPacketizer,
        )
        self._ended = ended
        self._is_gateway = is_gateway
        self._reactor = reactor if isinstance(sock, socket.socket) and not is_gateway else None
        self._adopted: AdoptedTransport | None = None
        self._handing_over = threading.RLock()
        self._held_back: list[Message] = []
        self._closed_there: set[bytes] = set()  # the far side's numbers of channels that we have closed
        lock: Any = threading.RLock()
        self.clear_to_send_lock = lock
        self._opening: dict[int, _Opening] = {}  # the channels that were asked for, which Paramiko holds weakly
        self._reader: int | None = None  # the thread that does, until it is the reactor's
        self._packets: IrisPacketizer = self.packetizer  # type: ignore[assignment] # it was told to make one

    @property
    def packets(self) -> IrisPacketizer:
        """The packetizer, as what it is."""
        return self._packets

    @property
    def sends_at_once(self) -> bool:
        """Whether what is to be sent now need not wait, neither for a key exchange nor for the peer to read."""
        return self._adopted is not None and self.clear_to_send.is_set() and not self._packets.much_unsent

    @property
    def is_read_here(self) -> bool:
        """Whether this is called on the thread that reads the connection: there nothing may wait."""
        reader = self._reader if self._adopted is None or self._reactor is None else self._reactor.thread_id
        return threading.get_ident() == reader

    def call_soon(self, call: Callable[[], None]) -> bool:
        """Have `call` made on the reactor's thread, where sending does not wait; False: there is no reactor, or much waits to be sent."""
        return self.sends_at_once and self._adopted is not None and self._adopted.call_soon(call)

    def open_soon(
        self, opened: Callable[[Channel], None], refused: Callable[[SSHException], None], *, socket_path: str = ""
    ) -> None:
        """Ask for a channel for a command, or to a Unix socket of the host, without waiting for it as Paramiko's `open_session` does.

        One of the two is called on the thread that reads the connection, unless that ends before. Raises what prevented the asking, and
        calls neither then. To sockets:
        https://github.com/openssh/openssh-portable/blob/master/PROTOCOL (2.4, Unix domain socket forwarding)
        """
        internals: Any = self
        with self.lock:
            number = internals._next_channel()  # noqa: SLF001 - docs/decisions/0005
            channel: Any = CommandChannel(number)
            internals._channels.put(number, channel)  # noqa: SLF001 - as above
            self.channels_seen[number] = True
            channel._set_transport(self)  # noqa: SLF001 - as above
            channel._set_window(self.default_window_size, self.default_max_packet_size)  # noqa: SLF001 - as above
            self._opening[number] = _Opening(channel, opened, refused)
        kind, to_socket = b"session", b""
        if socket_path:
            kind, path = b"direct-streamlocal@openssh.com", socket_path.encode()
            to_socket = _LENGTH.pack(len(path)) + path + _RESERVED
        numbers = _NUMBERS.pack(number, self.default_window_size, self.default_max_packet_size)
        try:
            self._send_user_message(
                Message(b"".join((cMSG_CHANNEL_OPEN, _LENGTH.pack(len(kind)), kind, numbers, to_socket)))
            )
        except BaseException:
            self._opening.pop(number, None)
            raise

    def ask_for_answer(self) -> None:
        """Send a request that every SSH server must answer, if only with a refusal. Does not wait for the answer."""
        message = Message()
        message.add_byte(cMSG_GLOBAL_REQUEST)
        message.add_string("keepalive@openssh.com")
        message.add_boolean(True)  # noqa: FBT003 - the wire's "want reply"
        with suppress(SSHException, EOFError, OSError):  # whoever waits for the answer will notice
            self._send_user_message(message)

    def close(self) -> None:
        """Close the connection and its channels. Returns at once."""
        with self._handing_over:
            if self._adopted is None:
                super().close()
            else:
                self.active = False
                self._adopted.end()

    # Logging in, on the thread that wants to.

    def start_client(self, event: threading.Event | None = None, timeout: float | None = None) -> None:
        """Exchange keys. Where a reactor will read the connection, without the thread that Paramiko starts here.

        Raises:
            Exception: whatever ended it.
        """
        if self._reactor is None:
            super().start_client(event, timeout)
            return
        self.active = True
        self._reader = threading.get_ident()
        self.completion_event = threading.Event()
        self.sock.settimeout(None)  # it is woken by shutdown
        self._packets.hold_back()
        try:
            self.packetizer.write_all(f"{self.local_version}\r\n".encode())
            self._check_banner()  # type: ignore[attr-defined] # not in the stubs
            self._send_kex_init()
            self._expect_packet(MSG_KEXINIT)  # type: ignore[attr-defined] # not in the stubs
        except Exception as error:
            end_transport(self, error)
            raise
        self.read_until(self.completion_event.is_set)

    @property
    def auth_handler(self) -> AuthHandler | None:
        """How it is being logged in."""
        return self._auth_handler

    @auth_handler.setter
    def auth_handler(self, handler: AuthHandler | None) -> None:
        if handler is not None and self._reactor is not None:
            handler.__class__ = _ReadingAuthHandler  # Paramiko makes one for each method that it tries
        self._auth_handler = handler

    def auth_interactive_dumb(self, username: str, handler: object = None, submethods: str = "") -> list[str]:  # noqa: ARG002 - Paramiko's
        """Answer no prompts, as Paramiko would on the terminal, on any thread and with any number of hosts.

        Raises:
            PartialAuthentication: always.
        """
        raise PartialAuthentication(["keyboard-interactive"])

    def hand_over(self) -> None:
        """Once logged in, let the reactor read it, or where that cannot, a thread.

        Raises:
            Exception: whatever ended it before.
        """
        if self._reactor is None:
            return
        self.read_until(self._is_between_packets)
        self._packets.let_go()
        if not self._packets.can_be_taken_over:
            self.sock.settimeout(self._active_check_timeout)
            self.start()
            return
        with self._handing_over:
            if self.active:
                self._adopted = AdoptedTransport(self, self._packets, self._reactor)
                self.sock = self._adopted.sock
                self._reactor.adopt(self._adopted)
                return
        end_transport(self, None)
        self.tell_ended()

    def tell_ended(self) -> None:
        """Tell, once, that the connection is over that was logged in."""
        ended, self._ended = self._ended, _nobody_hears
        ended()

    def give_up(self, seconds: float) -> None:
        """After `close`, where the login failed: wait so long for the thread, if there is one, and let go of what leads back here."""
        if self.ident is not None:
            self.join(seconds)
        end_transport(self, None)
        self._ended = _nobody_hears

    def _is_between_packets(self) -> bool:
        expected: object = self._expected_packet  # type: ignore[attr-defined] # not in the stubs
        return not (self._packets.has_more or self.in_kex or expected)

    def run(self) -> None:
        """Be the connection's thread."""
        self._reader = self.ident
        if self._reactor is None:
            super().run()
            end_transport(self, None)
        else:
            with suppress(Exception):
                self.read_until(lambda: False)
        if (error := self.saved_exception) is not None:
            error.__traceback__ = error.__cause__ = error.__context__ = None  # which lead back here
        self.tell_ended()

    def read_until(self, done: Callable[[], bool]) -> None:
        """Deal with what comes, on the one thread that reads it.

        Raises:
            Exception: whatever ended the connection.
        """
        packets = self._packets
        try:
            while not done():
                if not self.active:
                    raise EOFError  # noqa: TRY301 - as where the peer ends it
                start_due_exchange(self, packets)
                try:
                    kind, message = packets.read_message()
                except NeedRekeyException:
                    continue
                take(self, packets, kind, message)
        except Exception as error:
            end_transport(self, error)
            raise

    # Sending.

    def _send_user_message(self, data: Message) -> None:
        """Send now, or after the key exchange that is under way.

        Paramiko waits here for the exchange to end, also on the one thread that could bring it to an end (when a channel
        closes, for one). That is the deadlock by which a re-key near a stream's end kills the connection after 30 s.
        """
        adopted = self._adopted
        if not self.is_read_here:
            self._packets.wait_to_send()
            super()._send_user_message(data)  # type: ignore[misc] # not in the stubs
            if adopted is not None and self._packets.need_rekey() and not self.in_kex:
                adopted.wants_to_send()
        elif self.clear_to_send.is_set():  # and stays so: only this thread begins an exchange
            with self.clear_to_send_lock:
                self._send_message(data)
        elif len(self._held_back) < _MOST_HELD_BACK:
            self._held_back.append(data)
        else:
            raise SSHException("The host asks on and on, but does not do its part of a key exchange")

    def _send_message(self, data: Message) -> None:
        """As Paramiko's, but nothing in a channel that we have closed: sshd ends the whole connection for it.

        A thread may have made that before the channel was closed on another one, and waited for a key exchange. Called with
        `clear_to_send_lock`.
        """
        with data.packet.getbuffer() as said:
            kind, number = said[0], bytes(said[1:5])
        if kind == MSG_CHANNEL_CLOSE:
            self._closed_there.add(number)
        elif kind in _IN_A_CHANNEL and number in self._closed_there:
            return
        super()._send_message(data)  # type: ignore[misc] # not in the stubs

    def _parse_channel_open_success(self, m: Message) -> None:
        """Give the channel its buffers before the far side can have sent anything on it."""
        peek = Message(m.get_remainder())
        number = peek.get_int()
        self._closed_there.discard(peek.get_bytes(4))  # it gives a number anew
        channel: Any = self._channels.get(number)  # type: ignore[attr-defined] # not in the stubs
        if channel is not None and number not in self._opening and not self._is_gateway:
            channel.in_buffer, channel.in_stderr_buffer = SinkBuffer(), SinkBuffer()
        super()._parse_channel_open_success(m)  # type: ignore[misc] # not in the stubs
        if (opening := self._opening.pop(number, None)) is not None:
            opening.opened(opening.channel)

    def _parse_channel_open_failure(self, m: Message) -> None:
        peek = Message(m.get_remainder())
        number, reason = peek.get_int(), peek.get_int()
        super()._parse_channel_open_failure(m)  # type: ignore[misc] # not in the stubs
        if (opening := self._opening.pop(number, None)) is not None:
            self.saved_exception = None  # it is told here, and is not why the connection will end one day
            self._channels.delete(number)  # type: ignore[attr-defined] # not in the stubs
            opening.refused(ChannelException(reason, CONNECTION_FAILED_CODE.get(reason, "(unknown code)")))

    def _parse_ext_info(self, m: Message) -> None:
        """As Paramiko's, which believes every number of extensions: four billion steps on the thread that reads all hosts."""
        if Message(m.get_remainder()).get_int() > _MOST_EXTENSIONS:
            raise SSHException("The host has more extensions than there can be")
        super()._parse_ext_info(m)  # type: ignore[misc] # not in the stubs

    def _parse_newkeys(self, m: Message) -> None:
        with self.clear_to_send_lock:  # nobody sends anything before what was held back
            super()._parse_newkeys(m)
            while self._held_back:
                self._send_message(self._held_back.pop(0))
