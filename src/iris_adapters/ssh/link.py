"""One connection to one host, and the uses that are made of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final, TypeAlias

from iris_adapters.ssh.errors import Stage, described, ours
from iris_core.errors import ConnectionLostError, RemoteShellError

if TYPE_CHECKING:
    from collections.abc import Callable

    from paramiko.channel import Channel

    from iris_adapters.ssh.attempt import Attempt
    from iris_adapters.ssh.connection import ConnectionPool
    from iris_adapters.ssh.packets import IrisPacketizer
    from iris_adapters.ssh.sinks import ChannelSink
    from iris_adapters.ssh.transport import IrisTransport
    from iris_core.model import Host

_REFUSED_SECONDS: Final = 60.0  # after which a socket that could not be connected to is tried again

Ready: TypeAlias = "Callable[[Link], None]"
Failed: TypeAlias = "Callable[[RemoteShellError], None]"


class Lease:
    """The use that something makes of a connection, from before it is made until `release`. Made by the pool.

    Attributes:
        link: the connection.
        session: whether a session of the peer is spoken for.
        ready: called with the connection once it is made.
        failed: called with what prevented it.
    """

    __slots__ = ("_pool", "failed", "link", "ready", "session")

    def __init__(self, link: Link, pool: ConnectionPool, ready: Ready, failed: Failed, *, session: bool) -> None:
        self.link = link
        self.session = session
        self.ready = ready
        self.failed = failed
        self._pool = pool

    def release(self) -> None:
        """Let the connection go; where it is still being made and nobody else waits for it, it is given up."""
        self._pool.release(self)


class Link:
    """One connection to one host. Its fields belong to the pool, under the pool's lock.

    Args:
        host: the far end.
        attempt: how it is being made.
        monotonic: tells the time, in seconds.

    Attributes:
        host: the far end.
        attempt: how it is being made.
        leases: who uses it, or waits for it.
        is_open: whether it is made and not lost.
        lost: whether it was made and is gone.
    """

    __slots__ = (
        "__weakref__",
        "_lock",
        "_loss",
        "_monotonic",
        "_sinks",
        "_sockets_from",
        "_transport",
        "asked_at",
        "attempt",
        "forgotten",
        "host",
        "idle_since",
        "is_open",
        "leases",
        "lost",
        "packets",
    )

    def __init__(self, host: Host, attempt: Attempt, monotonic: Callable[[], float]) -> None:
        now = monotonic()
        self.host = host
        self.attempt = attempt
        self.leases: set[Lease] = set()
        self.is_open = False
        self.lost = False
        self.idle_since = now
        self.asked_at: float | None = None
        self.forgotten = False  # by the pool
        self.packets: IrisPacketizer | None = None  # once it is open
        self._monotonic = monotonic
        self._sockets_from = now
        self._transport: IrisTransport | None = None
        self._loss: RemoteShellError | None = None
        self._sinks: set[ChannelSink] = set()
        self._lock = threading.Lock()

    def open(self, transport: IrisTransport, now: float) -> None:
        """Be a connection: that of a transport that is logged in, since `now`, in seconds of the pool's clock."""
        self._transport, self.packets = transport, transport.packets
        self.idle_since = now
        self.is_open = True

    @property
    def transport(self) -> IrisTransport:
        """Paramiko's transport.

        Raises:
            ConnectionLostError: the connection is not made yet.
        """
        if self._transport is None:
            raise ConnectionLostError(f"{described(self.host)} is not connected", host=self.host.name)
        return self._transport

    @property
    def sessions(self) -> int:
        """How many of the peer's sessions are in use or spoken for."""
        return sum(lease.session for lease in self.leases)

    def open_tunnel(self, remote_port: int, origin: tuple[str, int]) -> Channel:
        """A channel to 127.0.0.1:`remote_port` of the host. Blocks for a round trip.

        Args:
            remote_port: where on the host.
            origin: address and port of the client that it is for.

        Raises:
            paramiko.ChannelException: nothing accepted the connection there.
            paramiko.SSHException: the connection ended, or the answer took longer than a connection may take to be made.
            ConnectionLostError: the connection is not made yet.
        """
        target = ("127.0.0.1", remote_port)
        return self.transport.open_channel("direct-tcpip", target, origin, timeout=self.attempt.seconds)

    @property
    def refuses_sockets(self) -> bool:
        """Whether a Unix socket of the host could not be connected to, not long ago."""
        return self._monotonic() < self._sockets_from

    def refused_socket(self) -> None:
        """Note that one could not be, and ask for none for now: sshd does not say whether the right or only the other end was missing."""
        self._sockets_from = self._monotonic() + _REFUSED_SECONDS

    def add_sink(self, sink: ChannelSink) -> None:
        """Tell `sink` when the connection ends (at once, if it has)."""
        with self._lock:
            lost = self.lost
            if not lost:
                self._sinks.add(sink)
        if lost:
            sink.connection_ended()

    def remove_sink(self, sink: ChannelSink) -> None:
        """Tell it no more."""
        with self._lock:
            self._sinks.discard(sink)

    def why_lost(self) -> RemoteShellError:
        """What ended the connection: the reason that `lose` was given, or what its transport met."""
        if self._loss is None:
            cause = self._transport.saved_exception if self._transport else None
            self._loss = ours(cause or EOFError(), self.host, Stage.IN_USE)
            self._loss.__cause__ = cause
        return self._loss

    def lose(self, why: RemoteShellError) -> None:
        """End the connection because of `why`, which those hear who use it. The first reason counts."""
        self._loss = self._loss or why
        self.stop()

    def stop(self) -> None:
        """End the connection or the attempt to make it. Returns at once; the transport's thread says when it is over."""
        self.attempt.end()

    def was_ended(self) -> None:
        """Tell everybody that it is over."""
        with self._lock:
            self.lost = True
            self.is_open = False
            sinks, self._sinks = self._sinks, set()
        for sink in sinks:
            sink.connection_ended()
