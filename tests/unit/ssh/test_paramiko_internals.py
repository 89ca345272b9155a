"""What iris relies on inside Paramiko, and in which version it was read (docs/decisions/0005): a new one must be read again."""

from __future__ import annotations

import socket
from importlib.metadata import version
from typing import TYPE_CHECKING

import pytest
from paramiko.auth_handler import AuthHandler
from paramiko.channel import Channel
from paramiko.config import SSHConfig
from paramiko.packet import Packetizer
from paramiko.transport import Transport

from iris_adapters.ssh.transport import IrisTransport

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        (Transport, "_channel_handler_table _next_channel _parse_channel_open_failure _check_banner _expect_packet"),
        (
            Transport,
            "_log _filter_algorithm _really_parse_kex_init _compute_key _add_K _enforce_strict_kex _parse_ext_info",
        ),
        (Transport, "auth_interactive_dumb"),
        (Transport, "_preferred_ciphers _preferred_kex _preferred_keys _preferred_macs _preferred_compression"),
        (AuthHandler, "wait_for_response abort _handler_table"),
        (SSHConfig, "_tokenize"),
        (Packetizer, "read_message write_all set_inbound_cipher set_inbound_compressor reset_seqno_in"),
        (Packetizer, "set_outbound_cipher _build_packet"),
        (
            Packetizer,
            "read_all _read_timeout need_rekey _trigger_rekey start_handshake REKEY_BYTES REKEY_BYTES_OVERFLOW_MAX",
        ),
        (Channel, "_unlink _check_add_window _set_transport _set_window"),
    ],
)
def test_it_has_what_is_called_and_overridden(owner: object, names: str) -> None:
    """Methods and class attributes."""
    assert [name for name in names.split() if not hasattr(owner, name)] == []


def test_a_transport_has_the_fields_that_are_read(pair: tuple[socket.socket, socket.socket]) -> None:
    """Those that Paramiko makes for each."""
    transport = IrisTransport(pair[0])
    fields = (
        "H K _channels _expected_packet _handler_table active advertise_strict_kex auth_handler authenticated channel_events channels_seen "
        "clear_to_send completion_event default_max_packet_size default_window_size disabled_algorithms in_kex kex_engine local_kex_init "
        "lock packetizer saved_exception server_accept_cv session_id sock"
    )
    assert [name for name in fields.split() if not hasattr(transport, name)] == []
