"""One client of a forward: a local socket on one side, a channel on the other."""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from paramiko.ssh_exception import ChannelException

from iris_adapters.ssh.errors import Stage, described, ours
from iris_adapters.ssh.sinks import SinkBuffer, attach, close_quietly
from iris_core.errors import HostUnreachableError, RemoteShellError

if TYPE_CHECKING:
    from paramiko.channel import Channel

    from iris_adapters.ssh.forward import SshForward
    from iris_adapters.ssh.link import Lease, Link
    from iris_core.model import Host

_PIECE_BYTES: Final = 1 << 16
_RESET: Final = struct.pack("ii", 1, 0)  # SO_LINGER of 0 s: closing sends a reset, so nobody takes it for a proper end


class ForwardedClient:
    """Carries bytes both ways, and each side's end to the other side.

    Everything runs on the forward's thread, except opening the channel and what the channel tells (see `ChannelSink`).
    Neither side is read faster than the other one takes it.
    """

    def __init__(self, forward: SshForward, sock: socket.socket, port: int) -> None:
        self._forward = forward
        self._sock = sock
        self._port = port
        self._lease: Lease | None = None
        self._lock = threading.Lock()  # for what follows: the worker sets it, and `_end` takes it away
        self._is_over = False
        self._link: Link | None = None
        self._channel: Channel | None = None
        self._arrived: SinkBuffer | None = None
        self._to_client = b""
        self._to_host = b""
        self._client_ended = False  # and the host was told
        self._host_ended = False
        self._host_closed = False
        self._client_told = False
        self._failure: RemoteShellError | None = None
        self._goes_elsewhere = False
        self._has_looked = False
        self._registered = 0

    def begin(self) -> None:
        """Ask for a connection; a lost one is made anew here."""
        host = self._forward.host
        self._lease = self._forward.pool.lease(
            host, self._open, lambda error: self._not_connected(host, error), session=False
        )

    def advance(self, *, can_read: bool = False) -> None:
        """Carry what can be carried now."""
        if self._goes_elsewhere and not self._is_over:
            self._goes_elsewhere = False
            self.begin()
        if self._is_over or (self._channel is None and self._failure is None):
            return
        try:
            if self._failure is not None:
                raise ConnectionAbortedError  # noqa: TRY301 - one way out for all failures
            if can_read and not self._to_host and not self._client_ended:
                self._read_client()
            self._write_host()
            self._write_client()
        except Exception as error:  # noqa: BLE001 - whichever side failed, the other one must see it
            self.abort(self._failure or ours(error, self._forward.host, Stage.IN_USE))
            return
        both_ended = self._host_closed or (self._client_ended and self._client_told)
        if both_ended and not self._to_client and not self._has_arrived():
            self._end()
        else:
            self._register()

    def abort(self, error: RemoteShellError | None = None) -> None:
        """Drop the client with a reset."""
        if error is not None:
            self._forward.note_failure(self._port, error)
        with suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self._end()

    # What the channel tells.

    def take(self, data: bytes) -> bool:  # noqa: ARG002 - the protocol's
        """Let it wait: the forward's thread reads it."""
        return False

    def readable(self) -> None:
        """Carry it."""
        self._forward.post(self)

    def input_ended(self) -> None:
        """Tell the client after what is still on its way."""
        self._host_ended = True
        self._forward.post(self)

    def writable(self) -> None:
        """Go on."""
        self._forward.post(self)

    def refused(self) -> None:
        """Nothing was asked of it."""

    def killed(self, signal_name: str) -> None:
        """Only processes are."""

    def closed(self) -> None:
        """The host takes nothing any more either."""
        self._host_ended = self._host_closed = True
        self._forward.post(self)

    def connection_ended(self) -> None:
        """The client will be reset."""
        if (link := self._link) is not None:
            self._fail(link.why_lost())

    # Opening, on a worker's thread.

    def _open(self, link: Link) -> None:
        with self._lock:
            if self._is_over:
                return
            self._link = link
        forward = self._forward
        try:
            channel = link.open_tunnel(forward.remote_port, ("127.0.0.1", self._port))
        except ChannelException as error:
            self._fail(
                HostUnreachableError(
                    f"nothing accepts connections on port {forward.remote_port} of {described(forward.host)} ({error.text}): "
                    "is what should listen there running?",
                    host=forward.host.name,
                )
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the client must see it
            self._fail(link.why_lost() if link.lost else ours(error, forward.host, Stage.IN_USE))
        else:
            self._opened(link, channel)
            forward.post(self)

    def _opened(self, link: Link, channel: Channel) -> None:
        channel.settimeout(0.0)
        link.add_sink(self)
        arrived, _ = attach(channel, self)
        with self._lock:
            over = self._is_over
            if not over:
                self._arrived, self._channel = arrived, channel
        if over:
            link.remove_sink(self)
            close_quietly(channel)

    def _not_connected(self, host: Host, error: RemoteShellError) -> None:
        """The machine may have been made anew elsewhere: try there once."""

        def found(elsewhere: bool) -> None:  # noqa: FBT001 - the one thing it is told
            if elsewhere:
                self._goes_elsewhere = True
                self._forward.post(self)
            else:
                self._fail(error)

        has_looked, self._has_looked = self._has_looked, True
        if has_looked or not self._forward.look_elsewhere(host, found):
            self._fail(error)

    def _fail(self, error: RemoteShellError) -> None:
        self._failure = error
        self._forward.post(self)

    # Carrying.

    def _read_client(self) -> None:
        with suppress(BlockingIOError):
            self._to_host = self._sock.recv(_PIECE_BYTES)
            if not self._to_host and self._channel is not None:
                self._client_ended = True
                self._channel.shutdown_write()

    def _write_host(self) -> None:
        with suppress(TimeoutError):  # the window is full; `writable` says when it is not
            while self._to_host and self._channel is not None and not self._host_closed:
                sent = self._channel.send(self._to_host)
                self._to_host = self._to_host[sent:]

    def _write_client(self) -> None:
        with suppress(BlockingIOError):
            while self._to_client or self._has_arrived():
                if not self._to_client and self._channel is not None:
                    self._to_client = self._channel.recv(_PIECE_BYTES)
                sent = self._sock.send(self._to_client)
                self._to_client = self._to_client[sent:]
        if self._host_ended and not self._client_told and not self._to_client and not self._has_arrived():
            self._client_told = True
            with suppress(OSError):  # it is gone already
                self._sock.shutdown(socket.SHUT_WR)

    def _has_arrived(self) -> bool:
        return self._arrived is not None and self._arrived.read_ready()

    def _register(self) -> None:
        wanted = 0
        if not self._to_host and not self._client_ended:
            wanted |= selectors.EVENT_READ
        if self._to_client:
            wanted |= selectors.EVENT_WRITE
        if wanted == self._registered:
            return
        selector = self._forward.selector
        if not self._registered:
            selector.register(self._sock, wanted, self)
        elif wanted:
            selector.modify(self._sock, wanted, self)
        else:
            selector.unregister(self._sock)
        self._registered = wanted

    def _end(self) -> None:
        with self._lock:
            if self._is_over:
                return
            self._is_over = True
            link, channel = self._link, self._channel
            self._link = self._channel = self._arrived = None  # which lead back here
        if self._registered:
            self._forward.selector.unregister(self._sock)
        self._sock.close()
        if link is not None:
            link.remove_sink(self)
        if self._lease is not None:
            self._lease.release()
            self._lease = None
        if channel is not None and not channel.closed:
            close_quietly(channel)
        self._forward.forget(self)
