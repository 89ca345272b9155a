"""A shell that reaches hosts which exist only in a test's script."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from iris_adapters.fakes.remote_process import FakeProcess
from iris_core.errors import ConnectionLostError, HostUnreachableError, LocalPortInUseError, RemoteShellError
from iris_core.model import CommandResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from iris_core.model import Host
    from iris_core.ports.remote_shell import ProcessListener

ProcessHandler: TypeAlias = "Callable[[FakeProcess], None]"
"""Plays what runs in a process: called when it starts; asks with `when_written` to be told of its input."""

_FIRST_FREE_PORT = 40001
_COMMAND_NOT_FOUND = 127
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class FakeCommand:
    """One call of `run`."""

    host: Host
    argv: tuple[str, ...]
    timeout_seconds: float
    stdin: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class RunScript:
    """What `run` answers.

    Attributes:
        answers: one after the other, the last again and again: a result, an error to raise, or what makes one of the command.
        argv: words that the command must contain side by side, in this order; empty: any command.
        host: name of the host; None: any.
    """

    answers: Sequence[CommandResult | RemoteShellError | Callable[[FakeCommand], CommandResult]]
    argv: tuple[str, ...] = ()
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartScript:
    """Who plays the processes that `start` starts; without one, the test does, through `FakeShell.started`.

    Attributes:
        handler: called with each.
        argv: as in `RunScript`.
        host: as in `RunScript`.
    """

    handler: ProcessHandler
    argv: tuple[str, ...] = ()
    host: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeScript:
    """What answers at a port of a host.

    Attributes:
        answers: as in `RunScript`: the reply, an error to raise, or what makes the reply of the request.
        port: on the host; None: any.
        host: as in `RunScript`.
    """

    answers: Sequence[bytes | RemoteShellError | Callable[[bytes], bytes]]
    port: int | None = None
    host: str | None = None


@dataclass(eq=False)
class FakeForward:
    """Implements `PortForward`.

    Attributes:
        host: the far end; another one once that could not be reached any more and was found elsewhere.
        remote_port: there.
        local_port: the pretended port here. Nothing listens on it.
        is_open: whether its context is open.
        requests: what was sent through it by `exchange`.
    """

    host: Host
    remote_port: int
    local_port: int
    answer: Callable[[FakeForward, bytes], bytes] = field(repr=False)
    find_again: Callable[[], Host | None] | None = field(default=None, repr=False)
    is_open: bool = True
    requests: list[bytes] = field(default_factory=list)

    def exchange(self, data: bytes, timeout_seconds: float) -> bytes:  # noqa: ARG002 - an answer takes no time here
        """See `PortForward`. Where no script answers, nothing listens."""
        self.requests.append(data)
        return self.answer(self, data)


class FakeShell:
    """Implements `RemoteShell` for tests. It owns no thread: listeners are called on the thread that drives a process.

    So the error of a `start` on an unreachable host, and what a handler emits at once, reach the listener before `start`
    has returned. A command that no script answers ends with status 127, as on a host that does not have it.

    Args:
        runs: what `run` answers; the last script that fits counts.
        starts: who plays processes; the last script that fits counts.
        exchanges: what answers behind forwards; the last script that fits counts.
        unreachable: names of hosts that cannot be reached.
        taken_ports: local ports that are in use.

    Attributes:
        commands: every call of `run`.
        started: the process of every call of `start` that reached its host.
        forwards: every forward that was opened, also those that are closed again.
        closed: whether `close` was called.
    """

    def __init__(
        self,
        *,
        runs: Iterable[RunScript] = (),
        starts: Iterable[StartScript] = (),
        exchanges: Iterable[ExchangeScript] = (),
        unreachable: Iterable[str] = (),
        taken_ports: Iterable[int] = (),
    ) -> None:
        self.commands: list[FakeCommand] = []
        self.started: list[FakeProcess] = []
        self.forwards: list[FakeForward] = []
        self.closed = False
        self._lock = threading.RLock()
        self._runs = list(runs)
        self._starts = list(starts)
        self._exchanges = list(exchanges)
        self._faults: dict[str, RemoteShellError] = {}
        self._taken_ports = set(taken_ports)
        self._next_port = _FIRST_FREE_PORT
        self._turns: dict[int, int] = {}
        for name in unreachable:
            self.break_host(name)

    # The port.

    def run(self, host: Host, argv: Sequence[str], *, timeout_seconds: float, stdin: bytes = b"") -> CommandResult:
        """See `RemoteShell`."""
        command = FakeCommand(host, tuple(argv), timeout_seconds, stdin)
        with self._lock:
            self.commands.append(command)
            self._check_reachable(host)
            answer = next(
                (
                    self._next_answer(script, script.answers)
                    for script in reversed(self._runs)
                    if _fits(script, command)
                ),
                None,
            )
        if answer is None:
            message = f"no script answers {command.argv} on {host.name}\n"
            return CommandResult(exit_status=_COMMAND_NOT_FOUND, stderr=message.encode())
        if isinstance(answer, RemoteShellError):
            raise answer
        return answer if isinstance(answer, CommandResult) else answer(command)

    def start(
        self, host: Host, argv: Sequence[str], listener: ProcessListener, *, socket_path: str = ""
    ) -> FakeProcess:
        """See `RemoteShell`."""
        process = FakeProcess(host, tuple(argv), listener, socket_path)
        try:
            with self._lock:
                self._check_reachable(host)
                self.started.append(process)
                handler = next((script.handler for script in reversed(self._starts) if _fits(script, process)), None)
        except RemoteShellError as error:
            process.fail(error)
            return process
        if handler is not None:
            handler(process)
        return process

    @contextmanager
    def forward(
        self, host: Host, remote_port: int, local_port: int = 0, *, find_again: Callable[[], Host | None] | None = None
    ) -> Iterator[FakeForward]:
        """See `RemoteShell`."""
        with self._lock:
            self._check_reachable(host)
            forward = FakeForward(
                host, remote_port, self._take_port(host, local_port), self._answer_exchange, find_again
            )
            self.forwards.append(forward)
        try:
            yield forward
        finally:
            self._close_forward(forward)

    def close(self) -> None:
        """See `RemoteShell`."""
        self.closed = True
        for process in list(self.started):
            process.close()
        for forward in list(self.forwards):
            self._close_forward(forward)

    # What the test does to the hosts.

    def script(self, *scripts: RunScript | StartScript | ExchangeScript) -> None:
        """Add scripts; they come before those that are there."""
        with self._lock:
            for script in scripts:
                if isinstance(script, RunScript):
                    self._runs.append(script)
                elif isinstance(script, StartScript):
                    self._starts.append(script)
                else:
                    self._exchanges.append(script)

    def break_host(self, name: str, error: RemoteShellError | None = None) -> None:
        """Let every new connection to the host of this name or address fail with `error`; None: it is unreachable. See also `drop`."""
        with self._lock:
            self._faults[name] = error or HostUnreachableError(
                f"{name} cannot be reached, as scripted: start it or check the network", host=name
            )

    def heal_host(self, name: str) -> None:
        """Let the host of this name or address be reachable again."""
        with self._lock:
            self._faults.pop(name, None)

    def drop(self, name: str) -> None:
        """Lose the connection to the host: the processes that run there fail."""
        for process in self.running(name):
            process.fail()

    def running(self, host: str | None = None) -> list[FakeProcess]:
        """The processes (on this host, if given) that run: neither ended nor closed."""
        with self._lock:
            return [
                process for process in self.started if process.running and (host is None or process.host.name == host)
            ]

    def _check_reachable(self, host: Host) -> None:
        if self.closed:
            raise ConnectionLostError(f"{host.name}: the shell is closed", host=host.name)
        if self._is_broken(host):
            raise self._faults.get(host.name) or self._faults[host.address]

    def _is_broken(self, host: Host) -> bool:
        return host.name in self._faults or host.address in self._faults

    def _next_answer(self, script: RunScript | ExchangeScript, answers: Sequence[_Answer]) -> _Answer:
        turn = self._turns.get(id(script), 0)
        self._turns[id(script)] = turn + 1
        return answers[min(turn, len(answers) - 1)]

    def _take_port(self, host: Host, local_port: int) -> int:
        if local_port in self._taken_ports:
            raise LocalPortInUseError(
                f"local port {local_port} is in use: choose another one, or 0", host=host.name, port=local_port
            )
        while not local_port:
            if self._next_port not in self._taken_ports:
                local_port = self._next_port
            self._next_port += 1
        self._taken_ports.add(local_port)
        return local_port

    def _close_forward(self, forward: FakeForward) -> None:
        with self._lock:
            if forward.is_open:
                forward.is_open = False
                self._taken_ports.discard(forward.local_port)

    def _answer_exchange(self, forward: FakeForward, data: bytes) -> bytes:
        if forward.is_open and self._is_broken(forward.host) and forward.find_again is not None:
            forward.host = forward.find_again() or forward.host
        with self._lock:
            scripts = self._exchanges if forward.is_open and not self._is_broken(forward.host) else []
            answer = next(
                (
                    self._next_answer(script, script.answers)
                    for script in reversed(scripts)
                    if script.port in (None, forward.remote_port) and script.host in (None, forward.host.name)
                ),
                None,
            )
        if answer is None:
            raise HostUnreachableError(
                f"nothing listens on port {forward.remote_port} of {forward.host.name}", host=forward.host.name
            )
        if isinstance(answer, RemoteShellError):
            raise answer
        return answer if isinstance(answer, bytes) else answer(data)


def _fits(script: RunScript | StartScript, command: FakeCommand | FakeProcess) -> bool:
    if script.host not in (None, command.host.name):
        return False
    length = len(script.argv)
    return any(command.argv[at : at + length] == script.argv for at in range(len(command.argv) - length + 1))
