"""The port through which the core runs commands on hosts and forwards ports to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from iris_core.errors import RemoteShellError
    from iris_core.model import CommandResult, Host


class ProcessListener(Protocol):
    """What hears of a remote process. Its methods are called one after another, on threads of the shell's own.

    Any number of `on_stdout` and `on_stderr` calls are followed by exactly one `on_exit` or `on_error`, and then by nothing.
    A listener must return quickly and raise nothing.
    """

    def on_stdout(self, data: bytes) -> None:
        """Bytes (at least one) that the process wrote on its standard output, cut anywhere."""
        ...

    def on_stderr(self, data: bytes) -> None:
        """Bytes (at least one) that the process wrote on its standard error, cut anywhere."""
        ...

    def on_exit(self, status: int) -> None:
        """The process ended with this exit status, and all its output has been handed over. 128 + n: ended by signal n."""
        ...

    def on_error(self, error: RemoteShellError) -> None:
        """The process could not be started or followed to its end; what it wrote after the last bytes is unknown."""
        ...


class RemoteProcess(Protocol):
    """A process on a host. Every method may be called from any thread, also after the process has ended (then a no-op)."""

    def write(self, data: bytes) -> None:
        """Send `data` to the standard input of the process, after what was written before. Returns at once."""
        ...

    def pause_reading(self) -> None:
        """Take no more output from the process until `resume_reading`: it is held back on the host, not stored here.

        What is on its way already (at most a few packets) may still arrive at the listener.
        """
        ...

    def resume_reading(self) -> None:
        """Take output again."""
        ...

    def close(self) -> None:
        """Give the process up: its standard input closes and nothing of it arrives any more. Idempotent, returns at once.

        A call to the listener that is running on another thread may still finish; none starts afterwards.
        """
        ...


class PortForward(Protocol):
    """An open way to a port of a host."""

    @property
    def local_port(self) -> int:
        """The port to connect to on 127.0.0.1."""
        ...

    def exchange(self, data: bytes, timeout_seconds: float) -> bytes:
        """Connect through this forward, send `data`, and return all that comes back until the other side closes.

        Raises:
            HostUnreachableError: nothing accepted the connection at the far end.
            ConnectionLostError: it was reset, or was not closed within the time.
        """
        ...


@runtime_checkable
class RemoteShell(Protocol):
    """Commands and ports on hosts. Every method may be called from any thread.

    Commands are argument lists: an implementation quotes them once, for the shell on the far side if it has one.
    Connections are the implementation's affair: they are made when first needed, shared, and made anew after a loss.
    """

    def run(self, host: Host, argv: Sequence[str], *, timeout_seconds: float, stdin: bytes = b"") -> CommandResult:
        """Run a command to its end and return its output. A non-zero exit status is a result, not an error.

        Raises:
            HostUnreachableError, AuthenticationFailedError, HostKeyError: no connection.
            ConnectionLostError: it was lost before the command ended.
            CommandTimeoutError: the command did not end within `timeout_seconds`, connecting included.
        """
        ...

    def start(
        self, host: Host, argv: Sequence[str], listener: ProcessListener, *, socket_path: str = ""
    ) -> RemoteProcess:
        """Start a command and return at once; connecting goes on in the background. All that happens reaches `listener`.

        Args:
            host: where.
            argv: the command.
            listener: hears of it.
            socket_path: the Unix socket on the host that the command only joins its standard input and output to, if it does. An
                implementation may connect to that instead, where the host lets it; the socket's end is told as exit status 0.
        """
        ...

    def forward(
        self, host: Host, remote_port: int, local_port: int = 0, *, find_again: Callable[[], Host | None] | None = None
    ) -> AbstractContextManager[PortForward]:
        """Forward 127.0.0.1:`local_port` (0: a free one) to 127.0.0.1:`remote_port` on the host, while the context is open.

        Entering connects to the host and binds the local port. A connection that is lost later is made anew when the next
        client connects; the local port stays the same. Where the host cannot be connected to any more, `find_again` is asked where
        it is now (None: nobody knows): if that is another place, the forward leads there from then on, for the client that waits,
        too. It is asked for each such client, one after the other, on a thread of the shell's; it raises nothing.

        Raises:
            HostUnreachableError, AuthenticationFailedError, HostKeyError: no connection.
            LocalPortInUseError: `local_port` is taken.
        """
        ...

    def close(self) -> None:
        """Close every connection, process and forward and end every thread of the shell. Idempotent."""
        ...
