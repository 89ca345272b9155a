"""What a host's messages are for: what Paramiko's own loop does with each, for a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from paramiko.common import MSG_DEBUG, MSG_DISCONNECT, MSG_IGNORE, MSG_UNIMPLEMENTED, cMSG_UNIMPLEMENTED
from paramiko.message import Message
from paramiko.ssh_exception import SSHException

from iris_adapters.ssh.quoting import printable

if TYPE_CHECKING:
    from iris_adapters.ssh.packets import IrisPacketizer

_KEY_EXCHANGE: Final = range(30, 42)  # the messages of the exchange's method (RFC 4250, 4.1.2)


def take(transport: Any, packets: IrisPacketizer, kind: int, message: Message) -> None:
    """Deal with one message.

    Args:
        transport: an `IrisTransport`.
        packets: its packetizer.
        kind: the message's.
        message: what follows that.

    Raises:
        EOFError: the peer said goodbye; why, as it says.
        SSHException: it sent what it must not.
    """
    if kind in {MSG_IGNORE, MSG_DEBUG}:
        transport._enforce_strict_kex(kind)  # noqa: SLF001 - docs/decisions/0005
        return
    if kind == MSG_DISCONNECT:
        raise EOFError(_reason(message))
    if not _is_of_exchange(transport, kind, message):
        _dispatch(transport, packets, kind, message)


def _reason(message: Message) -> str:
    """Of a disconnection: its description (RFC 4253, 11.1), or the number of its reason."""
    number = message.get_int()
    return printable(message.get_string().decode(errors="replace")) or f"reason {number}"


def _is_of_exchange(transport: Any, kind: int, message: Message) -> bool:
    """Whether it was a step of a key exchange, which has then been taken."""
    if not transport._expected_packet:  # noqa: SLF001 - docs/decisions/0005
        return False
    if kind not in transport._expected_packet:  # noqa: SLF001 - docs/decisions/0005
        raise SSHException(f"The host sent message {kind} in the middle of a key exchange")
    transport._expected_packet = ()  # noqa: SLF001 - docs/decisions/0005
    if kind not in _KEY_EXCHANGE:
        return False
    transport.kex_engine.parse_next(kind, message)
    return True


def _dispatch(transport: Any, packets: IrisPacketizer, kind: int, message: Message) -> None:
    if handler := transport._handler_table.get(kind):  # noqa: SLF001 - docs/decisions/0005
        handler(message)
    elif on_channel := transport._channel_handler_table.get(kind):  # noqa: SLF001 - docs/decisions/0005
        number = message.get_int()
        channel = transport._channels.get(number)  # noqa: SLF001 - docs/decisions/0005
        if channel is not None:
            on_channel(channel, message)
        else:
            expect_seen(transport, number)
    elif (login := transport.auth_handler) is not None and kind in login._handler_table:  # noqa: SLF001 - as above
        login._handler_table[kind](message)  # noqa: SLF001 - as above
    elif kind != MSG_UNIMPLEMENTED:
        answer = Message()
        answer.add_byte(cMSG_UNIMPLEMENTED)
        answer.add_int(packets.seqno)
        transport._send_message(answer)  # noqa: SLF001 - docs/decisions/0005


def expect_seen(transport: Any, number: int) -> None:
    """See whether a channel that is not there was, once.

    Raises:
        SSHException: it was not.
    """
    if number not in transport.channels_seen:
        raise SSHException(f"The host sent a message for channel {number}, which was never opened")


def start_due_exchange(transport: Any, packets: IrisPacketizer) -> None:
    """Begin to exchange keys anew if it is time."""
    if packets.need_rekey() and not transport.in_kex:
        transport._send_kex_init()  # noqa: SLF001 - docs/decisions/0005


def end_transport(transport: Any, error: Exception | None) -> None:
    """Do what Paramiko's thread does at its end: whoever waits for something of the transport wakes and finds it gone."""
    if error is not None:
        transport.saved_exception = error
    transport.active = False
    transport.packetizer.close()
    for channel in list(transport._channels.values()):  # noqa: SLF001 - docs/decisions/0005
        channel._unlink()  # noqa: SLF001 - docs/decisions/0005
    if transport.completion_event is not None:
        transport.completion_event.set()
    if transport.auth_handler is not None:
        transport.auth_handler.abort()
    for event in list(transport.channel_events.values()):
        event.set()
    # What leads back to it: thousands of dead connections would wait for Python's collector otherwise, 50 KB each.
    transport.kex_engine = None
    transport._handler_table.clear()  # noqa: SLF001 - docs/decisions/0005
    transport._opening.clear()  # noqa: SLF001 - it is an `IrisTransport`
