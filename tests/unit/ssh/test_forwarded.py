"""One client of a forward, whose end may come from its own side, from the host's, or while the way to the host is still being made."""

from __future__ import annotations

import selectors
import socket
from typing import TYPE_CHECKING, Any

import pytest

from iris_adapters.fakes import make_host
from iris_adapters.ssh.forwarded import ForwardedClient
from iris_adapters.ssh.sinks import SinkBuffer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iris_core.errors import RemoteShellError


class Lease:
    """How often it was given back."""

    releases = 0

    def release(self) -> None:
        self.releases += 1


class Pool:
    """Leases a connection when the test says so."""

    def __init__(self) -> None:
        self.lease_made = Lease()
        self.ready: Callable[[Any], None] = lambda _link: None

    def lease(self, _host: object, ready: Callable[[Any], None], _failed: object, *, session: bool) -> Lease:
        assert not session
        self.ready = ready
        return self.lease_made


class Forward:
    """What a client knows of its forward."""

    def __init__(self) -> None:
        self.host = make_host("one")
        self.remote_port = 80
        self.pool = Pool()
        self.selector = selectors.DefaultSelector()
        self.forgotten: list[ForwardedClient] = []
        self.failures: list[RemoteShellError] = []

    def post(self, client: ForwardedClient) -> None:
        """The test calls `advance` itself."""

    def forget(self, client: ForwardedClient) -> None:
        self.forgotten.append(client)

    def note_failure(self, _port: int, error: RemoteShellError) -> None:
        self.failures.append(error)


class Channel:
    """To the host's port."""

    def __init__(self) -> None:
        self.in_buffer, self.in_stderr_buffer = SinkBuffer(), SinkBuffer()
        self.closed = False

    def settimeout(self, _seconds: float) -> None:
        """It never waits."""

    def recv(self, size: int) -> bytes:
        return self.in_buffer.read(size)

    def close(self) -> None:
        self.closed = True


class Link:
    """A connection whose tunnels are open at once, once `meanwhile` was called."""

    lost = False

    def __init__(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        self.channel = Channel()
        self.sinks: set[object] = set()
        self._meanwhile = meanwhile

    def open_tunnel(self, _port: int, _origin: tuple[str, int]) -> Channel:
        self._meanwhile()
        return self.channel

    def add_sink(self, sink: object) -> None:
        self.sinks.add(sink)

    def remove_sink(self, sink: object) -> None:
        self.sinks.discard(sink)


@pytest.fixture
def forward() -> Iterator[Forward]:
    made = Forward()
    yield made
    made.selector.close()


@pytest.fixture
def program() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The program that uses the forward, and the forward's end of its connection."""
    theirs, ours = socket.socketpair()
    with theirs, ours:
        theirs.settimeout(5)
        ours.settimeout(0)
        yield theirs, ours


def test_what_the_host_said_is_carried_and_then_all_is_given_back(
    forward: Forward, program: tuple[socket.socket, socket.socket]
) -> None:
    """The connection goes on for others, and knows nothing of this client any more."""
    theirs, ours = program
    untyped: Any = forward
    client, link = ForwardedClient(untyped, ours, 5000), Link()
    client.begin()
    forward.pool.ready(link)
    assert link.sinks == {client}

    link.channel.in_buffer.feed(b"said")
    client.closed()
    client.advance()

    assert (theirs.recv(10), theirs.recv(10)) == (b"said", b"")
    assert (link.sinks, link.channel.closed, forward.forgotten) == (set(), True, [client])
    assert forward.pool.lease_made.releases == 1


def test_a_forward_that_closes_while_the_way_is_made_leaves_nothing(
    forward: Forward, program: tuple[socket.socket, socket.socket]
) -> None:
    """On the forward's thread, while a worker waits for the host to open the channel."""
    untyped: Any = forward
    client = ForwardedClient(untyped, program[1], 5000)
    link = Link(meanwhile=client.abort)
    client.begin()

    forward.pool.ready(link)
    client.advance()

    assert (link.sinks, link.channel.closed, forward.forgotten) == (set(), True, [client])
    assert forward.pool.lease_made.releases == 1


def test_a_connection_that_comes_too_late_is_not_used(
    forward: Forward, program: tuple[socket.socket, socket.socket]
) -> None:
    """The client is gone; the host need not hear of it."""
    untyped: Any = forward
    client = ForwardedClient(untyped, program[1], 5000)
    link = Link(meanwhile=lambda: pytest.fail("a tunnel was opened"))
    client.begin()
    client.abort()

    forward.pool.ready(link)

    assert (link.sinks, forward.pool.lease_made.releases) == (set(), 1)
