"""The remote shell of local mode, which has nothing to reach."""

from __future__ import annotations

import socket
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from iris_core.errors import ConnectionLostError, HostUnreachableError, LocalPortInUseError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from iris_core.model import CommandResult, Host
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import ProcessListener

_PIECE_BYTES: Final = 1 << 16


class DeadProcess:
    """Implements `RemoteProcess` for a process that was never started: every method does nothing."""

    def write(self, data: bytes) -> None:
        """See `RemoteProcess`."""

    def pause_reading(self) -> None:
        """See `RemoteProcess`."""

    def resume_reading(self) -> None:
        """See `RemoteProcess`."""

    def close(self) -> None:
        """See `RemoteProcess`."""


@dataclass(frozen=True)
class DirectAddress:
    """Implements `PortForward` for a port of this machine: there is nothing in between.

    Attributes:
        host: whose port it is.
        local_port: the port itself.
        clock: to bound `exchange` with.
    """

    host: Host
    local_port: int
    clock: Clock

    def exchange(self, data: bytes, timeout_seconds: float) -> bytes:
        """See `PortForward`."""
        ends_at = self.clock.monotonic() + timeout_seconds
        where = f"port {self.local_port} of {self.host.name}"
        received = bytearray()
        try:
            client = socket.create_connection((self.host.address, self.local_port), timeout_seconds)
        except OSError as error:
            raise HostUnreachableError(
                f"nothing accepts connections on {where} ({error}): is what should listen there running?",
                host=self.host.name,
            ) from error
        with client:
            try:
                client.sendall(data)
                while piece := client.recv(_PIECE_BYTES):
                    received += piece
                    client.settimeout(max(ends_at - self.clock.monotonic(), 1e-3))
            except TimeoutError as error:
                raise ConnectionLostError(
                    f"{where} did not answer to the end within {timeout_seconds:g} s", host=self.host.name
                ) from error
            except OSError as error:
                raise ConnectionLostError(f"{where} broke off: {error}", host=self.host.name) from error
        return bytes(received)


class LocalShell:
    """Implements `RemoteShell` for an in-process cluster: its ports are reached directly, and it runs no commands.

    Workers of a local cluster are threads of this process and log through Python's logging, so there is no host to run a
    command on and no reason to. Asking for one is an error that names what to do, never a wait.

    Args:
        clock: to bound `PortForward.exchange` with.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._closed = False

    def run(self, host: Host, argv: Sequence[str], *, timeout_seconds: float, stdin: bytes = b"") -> CommandResult:  # noqa: ARG002 - the port's signature
        """See `RemoteShell`.

        Raises:
            HostUnreachableError: always.
        """
        raise _no_shell(host)

    def start(
        self,
        host: Host,
        argv: Sequence[str],  # noqa: ARG002 - as above
        listener: ProcessListener,
        *,
        socket_path: str = "",  # noqa: ARG002 - as above
    ) -> DeadProcess:
        """See `RemoteShell`. The listener hears `HostUnreachableError` before this returns."""
        listener.on_error(_no_shell(host))
        return DeadProcess()

    @contextmanager
    def forward(
        self,
        host: Host,
        remote_port: int,
        local_port: int = 0,
        *,
        find_again: Callable[[], Host | None] | None = None,  # noqa: ARG002 - this process goes nowhere else
    ) -> Iterator[DirectAddress]:
        """See `RemoteShell`. There is no second port: `local_port` must be 0 or `remote_port`.

        A real forward to another port would be a listener of its own, with threads and faults of its own, for a controller
        whose port can be chosen to begin with (`local.port`). So asking for one is an error.

        Raises:
            LocalPortInUseError: another local port was asked for.
        """
        if self._closed:
            raise ConnectionLostError(f"{host.name}: the shell is closed", host=host.name)
        if local_port not in (0, remote_port):
            raise LocalPortInUseError(
                f"local mode forwards nothing: {host.name} is reached at port {remote_port} itself, not at {local_port}. "
                "Leave the local port away, or set local.port to have the controller listen there",
                host=host.name,
                port=local_port,
            )
        yield DirectAddress(host, remote_port, self._clock)

    def close(self) -> None:
        """See `RemoteShell`."""
        self._closed = True


def _no_shell(host: Host) -> HostUnreachableError:
    return HostUnreachableError(
        f"{host.name} is a part of this process and has no shell: local workers log through Python's logging, under iris.worker",
        host=host.name,
    )
