"""A process on a host: bytes to its listener, in order and at the listener's pace."""

from __future__ import annotations

import logging
import shlex
import signal
import threading
from functools import partial
from typing import TYPE_CHECKING, Final

from paramiko.ssh_exception import SSHException

from iris_adapters.ssh.errors import Stage, described, ours
from iris_adapters.ssh.sinks import SinkBuffer, attach, close_quietly, start_command
from iris_core.errors import ConnectionLostError, RemoteShellError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from paramiko.channel import Channel

    from iris_adapters.ssh.connection import ConnectionPool
    from iris_adapters.ssh.link import Lease, Link
    from iris_adapters.ssh.workers import Workers
    from iris_core.model import Host
    from iris_core.ports.remote_shell import ProcessListener

_logger = logging.getLogger("iris.ssh")
_PIECE_BYTES: Final = 1 << 18  # more than a packet holds
_ENDED_BY_SIGNAL: Final = 128
_RAISED: Final = "What listens to %s on %s raised"
_NO_STATUS: Final = -1  # Paramiko's word for it


def command_line(argv: Sequence[str]) -> str:
    """The one string that SSH sends, for the login shell on the far side to take apart into `argv` again."""
    return shlex.join(argv)


class SshProcess:
    """Implements `RemoteProcess`. Owns no thread.

    What arrives is handed over on the connection's thread, and after a pause on a worker's. One thread hands over at a time:
    who finds another one at it leaves, and that one looks again before it stops. While paused, nothing is taken from the
    channel, so its window closes and the far side stops at a window's size (2 MiB).
    """

    __slots__ = (
        "_argv",
        "_channel",
        "_end",
        "_end_input",
        "_err",
        "_failed",
        "_flushing",
        "_handing_over",
        "_holed",
        "_host",
        "_input",
        "_lease",
        "_link",
        "_listener",
        "_lock",
        "_out",
        "_over",
        "_paused",
        "_signal_name",
        "_socket_path",
        "_started",
        "_tell_over",
        "_window_opened",
        "_workers",
    )

    def __init__(
        self,
        host: Host,
        argv: Sequence[str],
        listener: ProcessListener,
        workers: Workers,
        *,
        over: Callable[[SshProcess], None],
        socket_path: str = "",
    ) -> None:
        self._host = host
        self._argv = tuple(argv)
        self._listener = listener
        self._workers = workers
        self._tell_over = over
        self._socket_path = socket_path  # empty: the command is run
        self._lock = threading.Lock()
        self._lease: Lease | None = None
        self._link: Link | None = None
        self._channel: Channel | None = None
        self._out: SinkBuffer | None = None
        self._err: SinkBuffer | None = None
        self._input: list[bytes] = []
        self._end: Callable[[], None] | None = None  # the last word to the listener, once it is known
        self._failed = False  # and that word is an error
        self._holed = False  # something that had arrived is lost: nothing that came after it may be handed over
        self._signal_name = ""
        self._over = False
        self._paused = False
        self._handing_over = False
        self._flushing = False
        self._window_opened = False
        self._started = False
        self._end_input = False

    def begin(self, pool: ConnectionPool) -> None:
        """Connect and start in the background."""
        lease = pool.lease(self._host, self._connected, self.fail, session=True)
        with self._lock:
            over = self._over
            if not over:
                self._lease = lease
        if over:
            lease.release()

    # The port.

    def write(self, data: bytes) -> None:
        """See `RemoteProcess`."""
        with self._lock:
            if self._over or self._end_input or not data:
                return
            self._input.append(bytes(data))
        self._flush_soon()

    def end_input(self) -> None:
        """Let the standard input of the process end after what was written."""
        with self._lock:
            self._end_input = True
        self._flush_soon()

    def pause_reading(self) -> None:
        """See `RemoteProcess`."""
        with self._lock:
            self._paused = True

    def resume_reading(self) -> None:
        """See `RemoteProcess`."""
        with self._lock:
            if not self._paused:
                return
            self._paused = False
        self._workers.submit(self._hand_over)

    def close(self) -> None:
        """See `RemoteProcess`."""
        self._finish()

    # What the channel tells (see `ChannelSink`).

    def take(self, data: bytes) -> bool:
        """Hand it over at once, where nobody hands over and nothing stands against it."""
        with self._lock:
            if self._handing_over or self._paused or self._over:
                return False
            self._handing_over = True
        try:
            self._listener.on_stdout(data)
        except Exception:
            _logger.exception(_RAISED, command_line(self._argv), self._host.name)
            self._finish()
        finally:
            with self._lock:
                self._handing_over = False
        err = self._err
        if self._end is not None or (err is not None and err.chunks):
            self._hand_over()  # what came meanwhile, and whoever brought it saw that this thread would look again
        return True

    def readable(self) -> None:
        """Hand it over."""
        self._hand_over()

    def input_ended(self) -> None:
        """The end of a socket; a command's exit status is still to come."""
        if self._socket_path:
            self._set_end(lambda: self._listener.on_exit(0))

    def writable(self) -> None:
        """Go on writing."""
        with self._lock:
            self._window_opened = True
        self._flush_soon()

    def refused(self) -> None:
        """The command was not started."""
        self._not_opened(SSHException(f"it will not run {command_line(self._argv)}"))

    def killed(self, signal_name: str) -> None:
        """Keep the signal for the end."""
        self._signal_name = signal_name

    def closed(self) -> None:
        """The process is over."""
        status = 0 if self._socket_path else self._exit_status()
        if status is None:
            self.fail(
                ConnectionLostError(
                    f"{described(self._host)} closed the channel of {command_line(self._argv)} without saying how it ended",
                    host=self._host.name,
                )
            )
        else:
            self._set_end(lambda: self._listener.on_exit(status))

    def connection_ended(self) -> None:
        """The process is out of reach."""
        if (link := self._link) is not None:
            self.fail(link.why_lost())

    # How it goes.

    def fail(self, error: RemoteShellError) -> None:
        """End with `error`: after what has arrived, but while reading is paused at once, and what was held back is lost."""
        self._set_end(lambda: self._listener.on_error(error), failed=True)

    def _connected(self, link: Link) -> None:
        """Ask for the channel."""
        with self._lock:
            if self._over:
                return
            self._link = link
        link.add_sink(self)
        if self._is_over():
            link.remove_sink(self)
            return
        if link.refuses_sockets:
            self._socket_path = ""
        self._ask_for_channel(link)

    def _ask_for_channel(self, link: Link) -> None:
        refused = partial(self._no_socket, link) if self._socket_path else self._not_opened
        try:
            link.transport.open_soon(self._opened, refused, socket_path=self._socket_path)
        except Exception as error:  # noqa: BLE001 - whatever it is, the table knows it, and it must reach the listener
            self._not_opened(error)

    def _no_socket(self, link: Link, _error: Exception) -> None:
        """Run the command instead: sshd may not forward, the login user may have no right to the socket, or nobody listens there."""
        link.refused_socket()
        self._socket_path = ""
        if not self._is_over():
            self._ask_for_channel(link)

    def _not_opened(self, error: Exception) -> None:
        link = self._link
        self.fail(link.why_lost() if link is not None and link.lost else ours(error, self._host, Stage.IN_USE))

    def _opened(self, channel: Channel) -> None:
        """Start the command; on the thread that reads the connection. Nobody else knows the channel before that is sent.

        For sshd ends the whole connection of a client that closes a channel and asks something of it afterwards.
        """
        out, err = attach(channel, self)
        with self._lock:
            if not self._over:
                self._out, self._err = out, err
        try:
            if not self._socket_path and not self._is_over():
                start_command(channel, command_line(self._argv))
        except Exception as error:  # noqa: BLE001 - as above
            close_quietly(channel)
            self._not_opened(error)
            return
        with self._lock:
            over = self._over
            if not over:
                self._channel = channel
                self._started = True
        if over:
            close_quietly(channel)
        else:
            self._flush_soon()

    def _is_over(self) -> bool:
        with self._lock:
            return self._over

    def _exit_status(self) -> int | None:
        if self._signal_name:
            number = getattr(signal, f"SIG{self._signal_name}", None)
            return _ENDED_BY_SIGNAL + (number.value if number else 0)
        channel = self._channel
        status = channel.exit_status if channel else _NO_STATUS
        return None if status == _NO_STATUS else status

    def _set_end(self, end: Callable[[], None], *, failed: bool = False) -> None:
        with self._lock:
            if self._end is None and not self._over:
                self._end, self._failed = end, failed
        self._hand_over()

    def _hand_over(self) -> None:
        while True:
            with self._lock:
                step = None if self._handing_over or self._over else self._next_step()
                if step is None:
                    return
                self._handing_over = True
            try:
                step()
            except Exception:
                _logger.exception(_RAISED, command_line(self._argv), self._host.name)
                self._finish()
            finally:
                with self._lock:
                    self._handing_over = False

    def _next_step(self) -> Callable[[], None] | None:
        if self._holed or (self._failed and self._paused):
            return self._last_word
        out, err = self._out, self._err
        if out is not None and out.read_ready():
            return None if self._paused else self._hand_out
        if err is not None and err.read_ready():
            return None if self._paused else self._hand_err
        return self._last_word if self._end is not None else None

    def _hand_out(self) -> None:
        channel = self._channel
        self._hand(channel.recv if channel else None, self._listener.on_stdout)

    def _hand_err(self) -> None:
        channel = self._channel
        self._hand(channel.recv_stderr if channel else None, self._listener.on_stderr)

    def _hand(self, take: Callable[[int], bytes] | None, tell: Callable[[bytes], None]) -> None:
        try:
            data = take(_PIECE_BYTES) if take else b""
        except Exception as error:  # noqa: BLE001 - opening the window failed: the connection is on its way out
            failure = ours(error, self._host, Stage.IN_USE)
            with self._lock:
                if not self._over:
                    self._end, self._failed, self._holed = partial(self._listener.on_error, failure), True, True
            return
        if data:
            tell(data)

    def _last_word(self) -> None:
        end = self._end
        self._finish()
        if end is not None:
            end()

    def _finish(self) -> None:
        with self._lock:
            if self._over:
                return
            self._over = True
            lease, link, channel = self._lease, self._link, self._channel
            self._input.clear()
            # What leads back here.
            self._lease = self._link = self._channel = self._out = self._err = self._end = None
        if link is not None:
            link.remove_sink(self)
        if lease is not None:
            lease.release()
        if channel is not None and not channel.closed:
            if link is not None and link.transport.sends_at_once:
                close_quietly(channel)
            else:
                self._workers.submit(partial(close_quietly, channel))
        self._tell_over(self)

    # Writing.

    def _flush_soon(self) -> None:
        with self._lock:
            nothing = not self._input and not self._end_input
            if self._flushing or self._over or nothing or not self._started:
                return
            self._flushing = True
        self._flush_where_it_fits()

    def _flush_where_it_fits(self) -> None:
        """Send on the connection's thread, which waits for nobody, or on a worker's, where there may be something to wait for."""
        link = self._link
        transport = None if link is None else link.transport
        if transport is not None and transport.is_read_here:
            self._flush()
        elif transport is None or not transport.call_soon(self._flush):
            self._workers.submit(self._flush)

    def _flush(self) -> None:
        while (piece := self._next_input()) is not None:
            channel, data = piece
            try:
                if not data:
                    channel.shutdown_write()
                    return  # still marked as flushing: nothing can be written after the end
                sent = channel.send(data[:_PIECE_BYTES])
            except TimeoutError:
                sent = 0
                with self._lock:
                    if not self._window_opened:
                        self._input.insert(0, data)
                        self._flushing = False
                        return
            except Exception:  # noqa: BLE001 - the channel is closed, and its end reaches the listener on its own way
                return
            else:
                if sent == 0:
                    return  # closed; its end reaches the listener on its own way
            if sent < len(data):
                with self._lock:
                    self._input.insert(0, data[sent:])

    def _next_input(self) -> tuple[Channel, bytes] | None:
        """The channel and what to send on it, empty: its end. None: nothing, or it is left to a worker, who may wait."""
        with self._lock:
            channel, link = self._channel, self._link
            if self._over or channel is None or link is None or not (self._input or self._end_input):
                self._flushing = False
                return None
            if not link.transport.is_read_here or link.transport.sends_at_once:
                self._window_opened = False
                return channel, self._input.pop(0) if self._input else b""
        self._workers.submit(self._flush)
        return None
