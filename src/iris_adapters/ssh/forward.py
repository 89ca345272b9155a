"""A local port that leads to a port of a host. One thread carries the bytes of all its clients."""

from __future__ import annotations

import errno
import logging
import selectors
import socket
import threading
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from iris_adapters.ssh.connection import shell_closed
from iris_adapters.ssh.errors import described
from iris_adapters.ssh.forwarded import ForwardedClient
from iris_adapters.ssh.port_owner import owner_of
from iris_adapters.ssh.workers import Workers
from iris_core.errors import ConnectionLostError, HostUnreachableError, LocalPortInUseError, RemoteShellError

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_adapters.ssh.connection import ConnectionPool
    from iris_adapters.ssh.link import Lease, Link
    from iris_core.model import Host
    from iris_core.ports.clock import Clock

_logger = logging.getLogger("iris.ssh")

_LOOPBACK: Final = "127.0.0.1"
_BACKLOG: Final = 128
_PIECE_BYTES: Final = 1 << 16
_NO_DESCRIPTORS_PAUSE_SECONDS: Final = 0.1
_JOIN_SECONDS: Final = 1.0


class SshForward:
    """Implements `PortForward`: listens from `open` to `close`.

    Args:
        host: the far end, at first.
        remote_port: the port on its 127.0.0.1.
        local_port: on ours; 0: a free one.
        pool: makes the connections.
        clock: to wait with.
        find_again: see `RemoteShell.forward`.

    Raises:
        LocalPortInUseError: `local_port` cannot be bound.
    """

    def __init__(
        self,
        host: Host,
        remote_port: int,
        local_port: int,
        pool: ConnectionPool,
        clock: Clock,
        *,
        find_again: Callable[[], Host | None] | None = None,
    ) -> None:
        self.host = host
        self.remote_port = remote_port
        self.pool = pool
        self._clock = clock
        self._find_again = find_again
        self._finder = Workers("iris-ssh-find", 1)
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._decided = threading.Event()  # whether there is a connection
        self._posted: deque[ForwardedClient] = deque()
        self._clients: set[ForwardedClient] = set()
        self._failures: dict[int, RemoteShellError | None] = {}  # of exchanges, by the port they come from
        self._lease: Lease | None = None
        self._thread: threading.Thread | None = None
        self._listener = _bind(host, local_port)
        self._local_port: int = self._listener.getsockname()[1]
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.settimeout(0.0)
        self._wake_writer.settimeout(0.0)
        self.selector = selectors.DefaultSelector()

    @property
    def local_port(self) -> int:
        """See `PortForward`."""
        return self._local_port

    def open(self) -> None:
        """Connect to the host, then listen.

        Raises:
            HostUnreachableError, AuthenticationFailedError, HostKeyError: no connection.
            ConnectionLostError: the shell was closed meanwhile.
        """
        failures: list[RemoteShellError] = []

        def ready(_link: Link) -> None:
            self._decided.set()

        def failed(error: RemoteShellError) -> None:
            failures.append(error)
            self._decided.set()

        self._lease = self.pool.lease(self.host, ready, failed, session=False)
        self._clock.wait(self._decided, None)  # the pool bounds it, and `close` ends it
        if failures:
            raise failures[0]
        with self._lock:
            if self._closed.is_set():
                raise shell_closed(self.host)
            try:
                self._listener.listen(_BACKLOG)
            except OSError as error:  # two may bind a port on which neither listens yet
                raise _taken(self.host, self._local_port, error) from error
            self.selector.register(self._listener, selectors.EVENT_READ)
            self.selector.register(self._wake_reader, selectors.EVENT_READ)
            name = f"iris-ssh-forward-{self._local_port}"
            self._thread = threading.Thread(target=self._carry, name=name, daemon=True)
            self._thread.start()

    def exchange(self, data: bytes, timeout_seconds: float) -> bytes:
        """See `PortForward`. It goes the whole way of any client, local port included."""
        ends_at = self._clock.monotonic() + timeout_seconds
        received = bytearray()
        with socket.socket() as client:
            client.bind((_LOOPBACK, 0))
            port = client.getsockname()[1]
            self._failures[port] = None
            try:
                client.settimeout(timeout_seconds)
                client.connect((_LOOPBACK, self._local_port))
                client.sendall(data)
                while piece := self._receive(client, ends_at):
                    received += piece
            except OSError as error:
                raise self._failures[port] or self._broken(error, timeout_seconds) from error
            finally:
                del self._failures[port]
        return bytes(received)

    def close(self) -> None:
        """Stop listening and drop every client. Idempotent."""
        with self._lock:
            was_closed, thread = self._closed.is_set(), self._thread
            self._closed.set()
            lease, self._lease = self._lease, None
        self._decided.set()
        self._wake()
        if lease is not None:
            lease.release()
        if thread is not None:
            thread.join(_JOIN_SECONDS)
        elif not was_closed:
            self._shut_down()

    # For the clients.

    def post(self, client: ForwardedClient) -> None:
        """Let the thread look at `client` soon. From any thread."""
        if not self._closed.is_set():
            self._posted.append(client)
            self._wake()

    def note_failure(self, port: int, error: RemoteShellError) -> None:
        """Keep why the client from this local port failed, if an exchange wants to know."""
        if port in self._failures:
            self._failures[port] = error

    def look_elsewhere(self, was: Host, found: Callable[[bool], None]) -> bool:
        """Find out where the host is that could not be connected to, and tell `found` whether that is another place now.

        Args:
            was: where it was.
            found: called on a thread of the forward's own.

        Returns:
            whether `found` will be called.
        """
        find_again = self._find_again
        if find_again is None or self._closed.is_set():
            return False

        def find() -> None:
            try:
                if self.host == was and not self._closed.is_set():
                    now = find_again()
                    if now is not None and now != was:
                        _logger.info("%s is at %s now; port %d leads there", now.name, now.address, self._local_port)
                        self.host = now
            finally:  # the client must not wait for ever, whatever goes wrong there
                found(self.host != was)

        self._finder.submit(find)
        return True

    def forget(self, client: ForwardedClient) -> None:
        """The client is done."""
        self._clients.discard(client)

    # The thread.

    def _carry(self) -> None:
        try:
            while not self._closed.is_set():
                for key, events in self.selector.select():
                    if key.fileobj is self._listener:
                        self._accept()
                    elif key.fileobj is self._wake_reader:
                        self._look_at_posted()
                    elif isinstance(key.data, ForwardedClient):
                        key.data.advance(can_read=bool(events & selectors.EVENT_READ))
        finally:
            self._shut_down()

    def _accept(self) -> None:
        try:
            sock, (_, port) = self._listener.accept()
        except OSError:  # it went away before it was accepted, or there are no file descriptors left
            self._clock.wait(self._closed, _NO_DESCRIPTORS_PAUSE_SECONDS)
            return
        sock.settimeout(0.0)
        client = ForwardedClient(self, sock, port)
        self._clients.add(client)
        client.begin()

    def _look_at_posted(self) -> None:
        with suppress(BlockingIOError):
            while self._wake_reader.recv(_PIECE_BYTES):
                pass
        while self._posted:
            self._posted.popleft().advance()

    def _shut_down(self) -> None:
        self._listener.close()
        for client in list(self._clients):
            client.abort()
        self._posted.clear()
        self.selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _wake(self) -> None:
        with suppress(OSError):  # full: it will wake anyway; closed: there is nobody to wake
            self._wake_writer.send(b"\0")

    def _receive(self, client: socket.socket, ends_at: float) -> bytes:
        left = ends_at - self._clock.monotonic()
        if left <= 0:
            raise TimeoutError
        client.settimeout(left)
        return client.recv(_PIECE_BYTES)

    def _broken(self, error: OSError, seconds: float) -> RemoteShellError:
        where = f"port {self.remote_port} of {described(self.host)}"
        if isinstance(error, ConnectionRefusedError):
            return HostUnreachableError(f"the forward to {where} is closed", host=self.host.name)
        how = (
            f"did not answer to the end within {seconds:g} s"
            if isinstance(error, TimeoutError)
            else f"broke off: {error}"
        )
        return ConnectionLostError(f"{where} {how}", host=self.host.name)


def _bind(host: Host, local_port: int) -> socket.socket:
    listener = socket.socket()
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((_LOOPBACK, local_port))
    except OSError as error:
        listener.close()
        raise _taken(host, local_port, error) from error
    listener.settimeout(0.0)
    return listener


def _taken(host: Host, local_port: int, error: OSError) -> LocalPortInUseError:
    owner = owner_of(local_port) if error.errno == errno.EADDRINUSE else None
    why = f"is taken by {owner}" if owner is not None else f"cannot be used ({error.strerror})"
    return LocalPortInUseError(
        f"local port {local_port} {why}: choose another one, or 0 for a free one", host=host.name, port=local_port
    )
