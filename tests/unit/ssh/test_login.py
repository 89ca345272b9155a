"""Logging in: on the thread that wants to, and then read by the reactor; against a server of Paramiko's own."""

from __future__ import annotations

import gc
import socket
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from paramiko.channel import Channel
from paramiko.common import (
    AUTH_FAILED,
    AUTH_PARTIALLY_SUCCESSFUL,
    AUTH_SUCCESSFUL,
    OPEN_SUCCEEDED,
    cMSG_DISCONNECT,
)
from paramiko.ed25519key import Ed25519Key
from paramiko.message import Message
from paramiko.server import ServerInterface
from paramiko.ssh_exception import AuthenticationException, SSHException
from paramiko.transport import Transport

from iris_adapters.ssh.errors import let_go
from iris_adapters.ssh.reactor import Reactor
from iris_adapters.ssh.sinks import CommandChannel
from iris_adapters.ssh.transport import IrisTransport, LoginEndedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from paramiko.pkey import PKey

SECONDS = 5.0  # more than anything here takes
CTR = ("aes128-ctr",)


class Server(ServerInterface):
    """Lets everybody in, or does what it is told."""

    def __init__(self, answer: int = AUTH_SUCCESSFUL) -> None:
        self.answer = answer

    def check_auth_publickey(self, _username: str, _key: PKey) -> int:
        return self.answer

    def get_allowed_auths(self, _username: str) -> str:
        return "publickey"

    def check_channel_request(self, _kind: str, _chanid: int) -> int:
        return OPEN_SUCCEEDED


class Hasty:
    """A server's socket: what follows the word that lets us in comes in one piece with that, as OpenSSH's does."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._held: bytes | None = None
        self.follow: Callable[[], None] = lambda: None

    def hold(self) -> None:
        self._held = b""

    def send(self, data: bytes) -> int:
        if self._held is None:
            return self._sock.send(data)
        self._held += data
        return len(data)

    def recv(self, size: int) -> bytes:
        if self._held:
            self.follow()
            data, self._held = self._held, None
            self._sock.sendall(data)
        return self._sock.recv(size)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sock, name)


class Host:
    """A server of Paramiko's at the other end of a socket pair."""

    def __init__(self, key: PKey, answer: int = AUTH_SUCCESSFUL, ciphers: tuple[str, ...] = ()) -> None:
        self.ours, theirs = socket.socketpair()
        sock: Any = Hasty(theirs)
        self.sock = sock
        self.transport: Any = Transport(sock)
        self.transport.add_server_key(key)
        if ciphers:
            self.transport.get_security_options().ciphers = ciphers
        self.transport.start_server(event=threading.Event(), server=Server(answer))

    def close(self) -> None:
        self.transport.close()
        self.ours.close()


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> PKey:
    path: Path = tmp_path_factory.mktemp("key") / "key"
    path.write_bytes(
        Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    )
    return Ed25519Key.from_private_key_file(str(path))


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    reactor = Reactor("the-reactor")
    yield reactor
    for thread in reactor.close():
        thread.join(SECONDS)


class Ends:
    """On which threads it was told that a connection is over."""

    def __init__(self) -> None:
        self.threads: list[str] = []
        self.told = threading.Event()

    def __call__(self) -> None:
        self.threads.append(threading.current_thread().name)
        self.told.set()


def logged_in(host: Host, key: PKey, reactor: Reactor, ended: Ends) -> IrisTransport:
    transport = IrisTransport(host.ours, ended=ended, reactor=reactor)
    transport.name = "its-own-thread"
    log_in(transport, key)
    return transport


def log_in(transport: IrisTransport, key: PKey) -> None:
    """As `Connector` does."""
    transport.start_client()
    transport.auth_publickey("root", key)
    transport.auth_handler = None
    transport.hand_over()


def opened(transport: IrisTransport) -> Channel:
    """A channel that the host has let us open."""
    channels: list[Channel] = []
    told = threading.Event()

    def take(channel: Channel) -> None:
        channels.append(channel)
        told.set()

    transport.open_soon(take, lambda error: pytest.fail(str(error)))
    assert told.wait(SECONDS)
    return channels[0]


def test_it_takes_no_thread_and_the_reactor_sees_the_end(key: PKey, reactor: Reactor) -> None:
    """Who logs in reads until then, and nobody else: to wake another thread for each step costs a quarter of a login."""
    host, ended = Host(key), Ends()

    transport = logged_in(host, key, reactor, ended)

    assert (transport.ident, transport.is_active(), ended.threads) == (None, True, [])
    assert opened(transport).chanid == 0
    host.close()
    assert ended.told.wait(SECONDS)
    assert (ended.threads, transport.is_active()) == (["the-reactor"], False)


def test_closing_it_ends_it_once(key: PKey, reactor: Reactor) -> None:
    """From another thread, twice; the peer sees it, and the socket is closed by the reactor alone."""
    host, ended = Host(key), Ends()
    transport = logged_in(host, key, reactor, ended)

    host.ours.close()  # who dialled holds an empty shell
    transport.close()
    transport.close()
    for thread in reactor.close():
        thread.join(SECONDS)

    host.transport.join(SECONDS)
    assert (len(ended.threads), host.transport.is_active()) == (1, False)


def test_where_the_host_has_no_aes_gcm_a_thread_reads_it(key: PKey, reactor: Reactor) -> None:
    """Only that is read out of the reactor's buffer."""
    host, ended = Host(key, ciphers=CTR), Ends()

    transport = logged_in(host, key, reactor, ended)

    assert (transport.is_alive(), transport.name) == (True, "its-own-thread")
    assert opened(transport).chanid == 0
    transport.close()
    transport.join(SECONDS)
    host.close()
    assert (ended.threads, transport.is_alive()) == (["its-own-thread"], False)


@pytest.mark.parametrize("ciphers", [(), CTR])
def test_it_goes_on_after_new_keys(key: PKey, reactor: Reactor, ciphers: tuple[str, ...]) -> None:
    """Which the host asks for."""
    host = Host(key, ciphers=ciphers)
    transport = logged_in(host, key, reactor, Ends())

    host.transport.renegotiate_keys()
    ended_at = time.monotonic() + SECONDS
    while host.transport.in_kex and time.monotonic() < ended_at:
        time.sleep(0.01)

    assert not host.transport.in_kex
    assert opened(transport).chanid == 0
    host.close()
    transport.close()


def test_what_comes_with_the_word_that_lets_us_in_is_read(key: PKey, reactor: Reactor) -> None:
    """The reactor begins with what follows it, and each packet counts: the next could not be decrypted."""
    host, ended = Host(key), Ends()
    told: list[str] = []

    def check(_username: str, _key: PKey) -> int:
        host.sock.hold()
        return AUTH_SUCCESSFUL

    def follow() -> None:
        told.append("hostkeys-00@openssh.com")
        host.transport.global_request(told[0], wait=False)

    host.transport.server_object.check_auth_publickey = check
    host.sock.follow = follow

    transport = logged_in(host, key, reactor, ended)

    assert opened(transport).chanid == 0
    assert told
    host.close()
    assert ended.told.wait(SECONDS)


def test_where_the_host_lets_nobody_in_the_login_fails_as_with_paramiko(key: PKey, reactor: Reactor) -> None:
    """And the connection lives on, for the next key."""
    host = Host(key, AUTH_FAILED)
    transport = IrisTransport(host.ours, reactor=reactor)
    transport.start_client()

    for _ in range(2):
        with pytest.raises(AuthenticationException):
            transport.auth_publickey("root", key)

    assert transport.is_active()
    host.close()


def test_where_the_host_wants_more_it_says_what(key: PKey, reactor: Reactor) -> None:
    """A key alone may not be enough."""
    host = Host(key, AUTH_PARTIALLY_SUCCESSFUL)
    transport = IrisTransport(host.ours, reactor=reactor)
    transport.start_client()

    assert transport.auth_publickey("root", key) == ["publickey"]

    host.close()


def test_a_host_that_hangs_up_ends_the_exchange_and_one_that_does_later_the_login(key: PKey, reactor: Reactor) -> None:
    """Whoever waits is told."""
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours, pytest.raises((SSHException, EOFError)):
        IrisTransport(ours, reactor=reactor).start_client()

    host = Host(key)
    transport = IrisTransport(host.ours, reactor=reactor)
    transport.start_client()
    host.transport.close()
    with pytest.raises((LoginEndedError, ConnectionResetError)):  # a reset where it left something unread
        transport.auth_publickey("root", key)
    assert not transport.is_active()
    host.close()


def test_a_host_that_says_why_it_lets_nobody_in_is_quoted(key: PKey, reactor: Reactor) -> None:
    """OpenSSH says so after too many keys. What is no text for a terminal is left out."""
    host = Host(key)
    transport = IrisTransport(host.ours, reactor=reactor)
    transport.start_client()

    def check(_username: str, _key: PKey) -> int:
        goodbye = Message()
        goodbye.add_byte(cMSG_DISCONNECT)
        goodbye.add_int(2)
        goodbye.add_string("Too many \x1bauthentication failures\n")
        host.transport._send_message(goodbye)
        return AUTH_FAILED

    host.transport.server_object.check_auth_publickey = check
    with pytest.raises(LoginEndedError, match=r"^Too many authentication failures$"):
        transport.auth_publickey("root", key)
    assert not transport.is_active()
    host.close()


def test_closing_it_from_another_thread_ends_a_login_that_hangs(reactor: Reactor) -> None:
    """A host that accepts and says nothing: the attempt's time is what ends it."""
    ours, theirs = socket.socketpair()
    transport = IrisTransport(ours, reactor=reactor)
    timer = threading.Timer(0.1, transport.close)
    timer.start()
    began = time.monotonic()

    with ours, theirs, pytest.raises((SSHException, EOFError)):
        transport.start_client()

    assert time.monotonic() - began < SECONDS
    timer.join()


class User:
    """Of a connection, which leads back to it as `Link` does and what waits for a channel."""

    def __init__(self, ended: Ends) -> None:
        self.transport: IrisTransport | None = None
        self._ended = ended

    def hears(self) -> None:
        self._ended()

    def gets(self, _channel: Channel) -> None:
        """It has one more."""

    def gets_none(self, _error: SSHException) -> None:
        """The connection is over."""


@pytest.fixture
def no_collector() -> Iterator[None]:
    """Nothing is freed but what nobody refers to any more."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def is_freed(made: weakref.ref[Any]) -> bool:
    """Whether it is, or will be when the thread that dealt with it last is through."""
    ends_at = time.monotonic() + SECONDS
    while made() is not None and time.monotonic() < ends_at:
        time.sleep(0.01)
    return made() is None


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("ciphers", [(), CTR])
@pytest.mark.parametrize("who_ends_it", ["host", "we"])
def test_what_is_over_is_freed_at_once(
    key: PKey, reactor: Reactor, ciphers: tuple[str, ...], who_ends_it: str, request: pytest.FixtureRequest
) -> None:
    """Not when Python's collector comes by, which with a thousand live connections may be after a hundred MB of dead ones."""
    host, ended = Host(key, ciphers=ciphers), Ends()
    request.addfinalizer(host.close)
    user = User(ended)
    transport = user.transport = IrisTransport(host.ours, ended=user.hears, reactor=reactor)
    log_in(transport, key)
    channel = opened(transport)
    transport.open_soon(user.gets, user.gets_none)

    if who_ends_it == "host":
        host.close()
    else:
        transport.close()
    assert ended.told.wait(SECONDS)

    made, error = (weakref.ref(transport), weakref.ref(channel)), transport.saved_exception
    del transport, channel, user
    assert [is_freed(one) for one in made] == [True, True], error


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("ciphers", [(), CTR])
def test_what_was_not_let_in_is_freed_when_it_is_given_up(
    key: PKey, reactor: Reactor, ciphers: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    """A host that refuses is asked again and again."""
    host = Host(key, AUTH_FAILED, ciphers)
    request.addfinalizer(host.close)
    transport = IrisTransport(host.ours, reactor=reactor)
    with pytest.raises(AuthenticationException) as refused:
        log_in(transport, key)

    transport.close()
    transport.give_up(SECONDS)

    let_go(refused.value)
    made = weakref.ref(transport)
    del transport
    assert is_freed(made)


def test_a_channel_has_what_paramiko_gives_one() -> None:
    """It is made from a pattern, without the objects that iris does without."""
    ours, theirs = vars(CommandChannel(7)), vars(Channel(7))
    replaced = {"in_buffer", "in_stderr_buffer", "lock", "out_buffer_cv", "status_event", "event", "timeout"}
    assert ours.keys() == theirs.keys()
    assert {name: ours[name] for name in ours.keys() - replaced} == {
        name: theirs[name] for name in theirs.keys() - replaced
    }
    assert vars(CommandChannel(8))["lock"] is not ours["lock"]
