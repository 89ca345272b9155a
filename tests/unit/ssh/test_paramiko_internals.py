"""What iris relies on inside Paramiko, and in which version it was read (docs/decisions/0005): a new one must be read again."""

from __future__ import annotations

import socket
import threading
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest
from paramiko import transport as paramiko_transport
from paramiko.channel import Channel
from paramiko.packet import Packetizer
from paramiko.transport import Transport

from iris_adapters.ssh.reactor import Reactor
from iris_adapters.ssh.transport import IrisTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS = 5.0  # more than anything here takes


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_this_is_the_paramiko_that_was_read() -> None:
    """Where this fails, read what is named below in the new version, run the SSH and the fault suites, then change the number."""
    assert version("paramiko").split(".")[:2] == ["5", "1"]


@pytest.mark.parametrize(
    ("owner", "names"),
    [
        (Transport, "_parse_newkeys _parse_channel_open_success _send_user_message _send_kex_init _send_message"),
        (Transport, "_channel_handler_table _next_channel _parse_channel_open_failure"),
        (Packetizer, "read_message write_all set_inbound_cipher set_inbound_compressor reset_seqno_in"),
        (Packetizer, "need_rekey _trigger_rekey start_handshake REKEY_BYTES REKEY_BYTES_OVERFLOW_MAX"),
        (Channel, "_unlink _check_add_window _set_transport _set_window"),
        (paramiko_transport, "_active_threads"),
    ],
)
def test_it_has_what_is_called_and_overridden(owner: object, names: str) -> None:
    """Methods and class attributes."""
    assert [name for name in names.split() if not hasattr(owner, name)] == []


def test_a_transport_has_the_fields_that_are_read(pair: tuple[socket.socket, socket.socket]) -> None:
    """Those that Paramiko makes for each."""
    transport = IrisTransport(pair[0])
    fields = (
        "_channels _expected_packet _handler_table active auth_handler authenticated channel_events channels_seen clear_to_send "
        "completion_event default_max_packet_size default_window_size in_kex kex_engine lock packetizer saved_exception "
        "server_accept_cv sock"
    )
    assert [name for name in fields.split() if not hasattr(transport, name)] == []


def test_a_transport_leaves_its_thread_alive_and_ends_on_the_reactors(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    """Paramiko's loop lets go of it between two packets, and nothing is ended by that; the peer's end is then seen by the reactor."""
    ended = threading.Event()
    threads: list[str] = []

    def note_end() -> None:
        threads.append(threading.current_thread().name)
        ended.set()

    reactor = Reactor("the-reactor")
    transport: Any = IrisTransport(pair[0], ended=note_end, reactor=reactor)
    transport.packetizer.may_hand_over = lambda: True  # as after the login
    transport.active = True
    pair[1].sendall(b"SSH-2.0-test\r\n")

    transport.start()
    transport.join(SECONDS)

    assert (transport.is_alive(), transport.is_active(), ended.is_set()) == (False, True, False)
    assert transport not in paramiko_transport._active_threads  # type: ignore[attr-defined]
    pair[1].shutdown(socket.SHUT_RDWR)
    assert ended.wait(SECONDS)
    assert threads == ["the-reactor"]
    assert not transport.is_active()
    for thread in reactor.close():
        thread.join(SECONDS)


def test_closing_an_adopted_transport_ends_it_once(pair: tuple[socket.socket, socket.socket]) -> None:
    """From another thread, twice; the peer sees it, and the socket is closed by the reactor alone."""
    ends: list[int] = []
    reactor = Reactor("the-reactor")
    transport: Any = IrisTransport(pair[0], ended=lambda: ends.append(1), reactor=reactor)
    transport.packetizer.may_hand_over = lambda: True
    transport.active = True
    pair[1].sendall(b"SSH-2.0-test\r\n")
    transport.start()
    transport.join(SECONDS)

    pair[0].close()  # who dialled holds an empty shell
    transport.close()
    transport.close()
    for thread in reactor.close():
        thread.join(SECONDS)

    pair[1].settimeout(SECONDS)
    while pair[1].recv(1 << 16):
        pass
    assert ends == [1]
