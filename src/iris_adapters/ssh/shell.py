"""The remote shell over SSH."""

from __future__ import annotations

import os
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from iris_adapters.ssh.connecting import Connector
from iris_adapters.ssh.connection import ConnectionPool, shell_closed
from iris_adapters.ssh.errors import described
from iris_adapters.ssh.forward import SshForward
from iris_adapters.ssh.host_keys import KNOWN_HOSTS_FILE, HostKeys, KnownHosts
from iris_adapters.ssh.keys import KeyPair
from iris_adapters.ssh.open_files import allow_many_open_files
from iris_adapters.ssh.process import SshProcess, command_line
from iris_adapters.ssh.reactor import Reactor
from iris_adapters.ssh.watchdog import Watchdog
from iris_adapters.ssh.workers import Workers
from iris_core.errors import CommandTimeoutError, RemoteShellError
from iris_core.model import CommandResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from iris_adapters.ssh.proxy import ProxyRoute
    from iris_core.config import SshConfig
    from iris_core.model import Host
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import ProcessListener

_MOST_WORKERS: Final = 64  # each is busy while a forward opens, or a host is slow to take what is written
_WAITING_WORKERS: Final = 8
_CLOSE_SECONDS: Final = 1.8
_PROGRAM_STARTS_SECONDS: Final = 30.0  # gcloud takes 1 to 2 s of CPU to start, and IAP its time to look the VM up
_MOST_LOOK_SECONDS: Final = 0.5
_LOOKS_PER_DEADLINE: Final = 10


class FabricShell:
    """Implements `RemoteShell` with Fabric: `~/.ssh/config`, gateways, ProxyCommand and ssh-agent are honoured.

    One thread, the reactor's, reads all connections and hands what processes write to their listeners. A connection gets a thread of its
    own where it goes through a jump host or the peer has no AES-GCM. A host's
    connection is shared by up to eight processes and any number of forwards; the next process gets a second one. An unused
    connection is closed after half a minute.

    Threads, however many hosts: the reactor's, which also opens channels and writes, the watchdog's, at most `most_connects` that connect
    and log in, at most 64 for what may have to wait: forwards, large inputs, hosts that exchange keys.
    Descriptors: a socket for each connection; the process's limit of open files is raised as far as it may be.

    A peer that falls silent is noticed in two ways: the kernel gives up what is not acknowledged (TCP_USER_TIMEOUT, Linux),
    and a watchdog asks every quiet peer for an answer, which also finds an sshd that hangs. Either way the listeners hear
    `ConnectionLostError` at most about `dead_peer_seconds` x 1.35 and a second after the peer's last sign of life.

    Args:
        config: how hosts are reached.
        clock: the time, and how to wait.
        reported_host_keys: asks Google's API for the SSH host keys of a host: lines `TYPE BASE64`, empty if it reports none.
            Called on a thread of the shell's when a key is needed that is not in the known_hosts file.
        login: sees to it that hosts will let us in, and says as whom (OS Login). Called before each connection, so it must be quick
            when there is nothing to do. None: as the config's user.
        proxy_route: the program that leads to hosts (IAP). No more of them are started at the same time than there is CPU for, and
            connecting gets half a minute more. None: hosts are dialled, or reached as `~/.ssh/config` says.
        ssh_config_file: read instead of `~/.ssh/config` and `/etc/ssh/ssh_config`.
    """

    def __init__(
        self,
        config: SshConfig,
        clock: Clock,
        reported_host_keys: Callable[[Host], Sequence[str]],
        *,
        login: Callable[[], str] | None = None,
        proxy_route: ProxyRoute | None = None,
        ssh_config_file: Path | None = None,
    ) -> None:
        if proxy_route is not None:
            config = replace(
                config,
                most_connects=min(config.most_connects, 2 * (os.cpu_count() or 1)),
                connect_timeout_seconds=config.connect_timeout_seconds + _PROGRAM_STARTS_SECONDS,
            )
        self._clock = clock
        self._workers = Workers("iris-ssh-work", _MOST_WORKERS, waiting=_WAITING_WORKERS)
        known_hosts = KnownHosts(Path(config.known_hosts_file or KNOWN_HOSTS_FILE).expanduser())
        allow_many_open_files()
        self._reactor = Reactor("iris-ssh-reactor")
        connector = Connector(
            config,
            KeyPair(config.key_file),
            HostKeys(known_hosts, config.host_keys, reported_host_keys),
            self._reactor,
            login=login,
            proxy_route=proxy_route,
            ssh_config_file=ssh_config_file,
        )
        self._pool = ConnectionPool(config, clock, connector, self._workers)
        soonest = min(config.dead_peer_seconds, config.connect_timeout_seconds) / _LOOKS_PER_DEADLINE
        self._watchdog = Watchdog(clock, self._pool.watch, min(soonest, _MOST_LOOK_SECONDS))
        self._lock = threading.Lock()
        self._processes: set[SshProcess] = set()
        self._collectors: set[tuple[Host, _Collector]] = set()
        self._forwards: set[SshForward] = set()
        self._closed = False

    def run(self, host: Host, argv: Sequence[str], *, timeout_seconds: float, stdin: bytes = b"") -> CommandResult:
        """See `RemoteShell`. A command that did not end in time is left to itself; its input and output are closed."""
        collector = _Collector()
        with self._lock:
            if self._closed:
                raise shell_closed(host)
            self._collectors.add((host, collector))
        process = self.start(host, argv, collector)
        try:
            process.write(stdin)
            process.end_input()
            if not self._clock.wait(collector.done, timeout_seconds):
                raise CommandTimeoutError(
                    f"{command_line(argv)} on {described(host)} did not end within {timeout_seconds:g} s",
                    host=host.name,
                    argv=argv,
                    seconds=timeout_seconds,
                )
        finally:
            process.close()
            with self._lock:
                self._collectors.discard((host, collector))
        return collector.result()

    def start(self, host: Host, argv: Sequence[str], listener: ProcessListener, *, socket_path: str = "") -> SshProcess:
        """See `RemoteShell`. Where sshd does not connect us to the socket, commands are run on that connection for a minute."""
        process = SshProcess(host, argv, listener, self._workers, over=self._forget, socket_path=socket_path)
        with self._lock:
            self._processes.add(process)
        self._watchdog.start()
        process.begin(self._pool)
        return process

    @contextmanager
    def forward(
        self, host: Host, remote_port: int, local_port: int = 0, *, find_again: Callable[[], Host | None] | None = None
    ) -> Iterator[SshForward]:
        """See `RemoteShell`. Clients are reset, not closed, where the far side cannot be reached or is lost."""
        with self._lock:
            if self._closed:
                raise shell_closed(host)
            forward = SshForward(host, remote_port, local_port, self._pool, self._clock, find_again=find_again)
            self._forwards.add(forward)
        self._watchdog.start()
        try:
            forward.open()
            yield forward
        finally:
            forward.close()
            with self._lock:
                self._forwards.discard(forward)

    def close(self) -> None:
        """See `RemoteShell`. Listeners of processes that still run hear nothing more; a `run` under way fails."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            processes, collectors, forwards = list(self._processes), list(self._collectors), list(self._forwards)
        for host, collector in collectors:
            collector.on_error(shell_closed(host))
        for process in processes:
            process.close()
        threads = [*self._pool.close(), *self._reactor.close(), *self._watchdog.stop(), *self._workers.close()]
        for forward in forwards:
            forward.close()
        ends_at = self._clock.monotonic() + _CLOSE_SECONDS
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, ends_at - self._clock.monotonic()))

    def _forget(self, process: SshProcess) -> None:
        with self._lock:
            self._processes.discard(process)


class _Collector:
    """Keeps what a process writes, for `run`."""

    def __init__(self) -> None:
        self.done = threading.Event()
        self._stdout: list[bytes] = []
        self._stderr: list[bytes] = []
        self._status = 0
        self._error: RemoteShellError | None = None

    def on_stdout(self, data: bytes) -> None:
        self._stdout.append(data)

    def on_stderr(self, data: bytes) -> None:
        self._stderr.append(data)

    def on_exit(self, status: int) -> None:
        self._status = status
        self.done.set()

    def on_error(self, error: RemoteShellError) -> None:
        self._error = error
        self.done.set()

    def result(self) -> CommandResult:
        if self._error is not None:
            raise self._error
        return CommandResult(exit_status=self._status, stdout=b"".join(self._stdout), stderr=b"".join(self._stderr))
