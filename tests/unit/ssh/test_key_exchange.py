"""What iris does in fewer steps gives what Paramiko gives."""

from __future__ import annotations

import hashlib
import logging
import random
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from paramiko.common import MSG_CHANNEL_CLOSE, MSG_CHANNEL_DATA
from paramiko.message import Message
from paramiko.ssh_exception import SSHException
from paramiko.transport import Transport

from iris_adapters.ssh.key_exchange import LOGGER
from iris_adapters.ssh.transport import IrisTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

COOKIE = slice(1, 17)  # of a KEXINIT message
CLOSE, DATA = bytes([MSG_CHANNEL_CLOSE]), bytes([MSG_CHANNEL_DATA])
THEIR_NUMBER, OTHER_NUMBER = (3).to_bytes(4, "big"), (4).to_bytes(4, "big")  # of channels


@pytest.fixture
def pair() -> Iterator[tuple[Any, Any]]:
    """A transport of iris's and one of Paramiko's, which prefer the same."""
    sockets = [*socket.socketpair(), *socket.socketpair()]
    ours, theirs = IrisTransport(sockets[0]), Transport(sockets[2])
    theirs.get_security_options().ciphers = ours.get_security_options().ciphers
    yield ours, theirs
    for sock in sockets:
        sock.close()


@pytest.mark.parametrize("disabled", [{}, {"kex": ["ecdh-sha2-nistp256"], "keys": ["ssh-ed25519"]}])
def test_it_proposes_the_same(pair: tuple[Any, Any], disabled: dict[str, list[str]]) -> None:
    """But for the cookie, which is random; twice, for the lists are put together once."""
    ours, theirs = pair
    ours.disabled_algorithms = theirs.disabled_algorithms = disabled
    cookies = set()
    for _ in range(2):
        for transport in pair:
            transport._send_kex_init()
        proposed = [bytearray(transport.local_kex_init) for transport in pair]
        for proposal in proposed:
            cookies.add(bytes(proposal[COOKIE]))
            proposal[COOKIE] = bytes(16)
        assert proposed[0] == proposed[1]
        assert ours._latest_kex_init == ours.local_kex_init
        assert ours.in_kex
        assert not ours.clear_to_send.is_set()
    assert len(cookies) == 4


@pytest.mark.parametrize("cut", [0, 1, 5])
def test_it_reads_a_proposal_the_same(pair: tuple[Any, Any], cut: int) -> None:
    """Also one without its last, empty fields; and to the same place in the message, for that much of it is hashed."""
    _, theirs = pair
    theirs._send_kex_init()
    proposal = theirs.local_kex_init[: len(theirs.local_kex_init) - cut]
    for ignore_first_byte in (False, True):
        read = []
        for transport in pair:
            message = Message(proposal if ignore_first_byte else proposal[1:])
            parsed = transport._really_parse_kex_init(message, ignore_first_byte)
            read.append((parsed, message.get_so_far()))
        assert read[0] == read[1]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("secret_kind", [int, bytes])
def test_it_derives_the_same_keys(pair: tuple[Any, Any], seed: int, secret_kind: type) -> None:
    """Of two exchanges, the second one's from its own secret; longer ones than a hash, too."""
    source = random.Random(seed)  # noqa: S311 - to be the same each time

    class Engine:
        hash_algo = hashlib.sha256

    for _ in range(2):
        secret = source.randbytes(32)
        hashed = source.randbytes(32)
        for transport in pair:
            transport.kex_engine = Engine
            transport.session_id = None
            transport._set_K_H(int.from_bytes(secret, "big") if secret_kind is int else secret, hashed)
        for name in "ABCDEF":
            for size in (12, 16, 32, 64, 100):
                assert pair[0]._compute_key(name, size) == pair[1]._compute_key(name, size)


def test_it_speaks_where_somebody_listens(caplog: pytest.LogCaptureFixture) -> None:
    """Otherwise its dozens of words for each connection go nowhere, at once."""
    one, other = socket.socketpair()
    with one, other:
        quiet: Any = IrisTransport(one)
        quiet._log(logging.ERROR, "never heard")
        with caplog.at_level(logging.DEBUG, logger=LOGGER.name):
            loud: Any = IrisTransport(one)
            loud._log(logging.DEBUG, "heard")
    assert [record.getMessage() for record in caplog.records] == ["heard"]


def test_there_are_no_keys_without_an_exchange(pair: tuple[Any, Any]) -> None:
    """They would be made of what everybody knows."""
    ours, _ = pair
    assert ours.K is None
    with pytest.raises(SSHException, match="not agreed on"):
        ours._compute_key("A", 16)


def test_a_host_that_asks_on_in_the_middle_of_an_exchange_is_cut_off(pair: tuple[Any, Any]) -> None:
    """Our answers wait for its end, and it need not do its part."""
    ours, _ = pair
    ours._reader = threading.get_ident()  # as on the thread that reads
    ours._send_kex_init()
    answer = Message(b"an answer")
    for _ in range(4096):
        ours._send_user_message(answer)

    with pytest.raises(SSHException, match="its part of a key exchange"):
        ours._send_user_message(answer)


def test_a_host_with_more_extensions_than_there_can_be_is_cut_off(pair: tuple[Any, Any]) -> None:
    """Paramiko takes as many steps as the host says that there are."""
    ours, theirs = pair
    told = Message()
    told.add_int(1)
    told.add_string("server-sig-algs")
    told.add_string("ssh-ed25519")
    for transport in pair:
        transport._parse_ext_info(Message(told.asbytes()))
    assert ours.server_extensions == theirs.server_extensions

    with pytest.raises(SSHException, match="more extensions"):
        ours._parse_ext_info(Message(b"\xff\xff\xff\xff"))


def test_nothing_follows_in_a_channel_that_we_have_closed(
    pair: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a thread wanted to send waits for a key exchange, and the far side closes the channel meanwhile: sshd would hang up."""
    ours, _ = pair
    sent: list[bytes] = []
    monkeypatch.setattr(ours.packetizer, "send_message", lambda message: sent.append(message.asbytes()))
    monkeypatch.setattr(Transport, "_parse_newkeys", lambda transport, _: transport.clear_to_send.set())
    ours._reader = threading.get_ident()
    ours.active = True
    ours.clear_to_send.clear()  # an exchange is under way
    ours._send_user_message(Message(CLOSE + THEIR_NUMBER))
    late = threading.Thread(target=ours._send_user_message, args=(Message(DATA + THEIR_NUMBER + b"late"),))
    late.start()

    ours._parse_newkeys(Message())
    late.join(5)
    ours._send_user_message(Message(DATA + OTHER_NUMBER + b"to another channel"))

    assert sent == [CLOSE + THEIR_NUMBER, DATA + OTHER_NUMBER + b"to another channel"]
    ours._parse_channel_open_success(Message(OTHER_NUMBER + THEIR_NUMBER + bytes(8)))  # it gives the number anew
    ours._send_user_message(Message(DATA + THEIR_NUMBER + b"to a new channel"))
    assert len(sent) == 3
