"""What the contract suite of `RemoteShell` runs against: each case is a shell, its hosts, and what lives on them."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

from iris_adapters.fakes import FakeShell
from iris_adapters.fakes.remote_shell import ExchangeScript, RunScript, StartScript
from iris_adapters.local.shell import LocalShell
from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.config import SshConfig
from iris_core.errors import AuthenticationFailedError, CommandTimeoutError, HostKeyError
from iris_core.model import CommandResult, Host, HostRole
from tests.support.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from iris_adapters.fakes.remote_process import FakeProcess
    from iris_adapters.fakes.remote_shell import FakeCommand
    from iris_core.errors import RemoteShellError
    from iris_core.ports.remote_shell import RemoteShell

FLOOD_BYTES = 100 * (1 << 20)

# The commands that every host of every case knows. On a real host they are what they say; the fake plays them.
BOTH_STREAMS = ("sh", "-c", "printf out; printf err >&2; exit 3")
KILLED = ("sh", "-c", "kill -KILL $$")
COUNT = ("seq", "1", "20000")
CAT = ("cat",)
FLOOD = ("head", "-c", str(FLOOD_BYTES), "/dev/zero")
ENDLESS = ("sleep", "600")
PRINT_ARGUMENTS = ("printf", r"<%s>\n")


class Recorder:
    """Implements `ProcessListener`: keeps what it hears, and lets a test wait for it."""

    def __init__(self, on_first_bytes: Callable[[], None] | None = None) -> None:
        self._stdout = bytearray()
        self._stderr = bytearray()
        self.ends: list[int | RemoteShellError] = []
        self.calls_after_end = 0
        self.overlaps = 0
        self._on_first_bytes = on_first_bytes
        self._inside = threading.Lock()
        self._changed = threading.Condition()

    @property
    def stdout(self) -> bytes:
        """What came on standard output so far."""
        return bytes(self._stdout)

    @property
    def stderr(self) -> bytes:
        """What came on standard error so far."""
        return bytes(self._stderr)

    @property
    def received(self) -> int:
        """How many bytes came on standard output so far."""
        return len(self._stdout)

    def on_stdout(self, data: bytes) -> None:
        """See `ProcessListener`."""
        assert data
        self._hear(lambda: self._stdout.extend(data))

    def on_stderr(self, data: bytes) -> None:
        """See `ProcessListener`."""
        assert data
        self._hear(lambda: self._stderr.extend(data))

    def on_exit(self, status: int) -> None:
        """See `ProcessListener`."""
        self._hear(lambda: self.ends.append(status))

    def on_error(self, error: RemoteShellError) -> None:
        """See `ProcessListener`."""
        self._hear(lambda: self.ends.append(error))

    def wait_until(self, condition: Callable[[], bool], seconds: float = 20.0) -> bool:
        """Whether `condition` of what was heard came true in time."""
        with self._changed:
            return self._changed.wait_for(condition, seconds)

    def end(self, seconds: float = 20.0) -> int | RemoteShellError:
        """The exit status or the error; waits for it."""
        assert self.wait_until(lambda: bool(self.ends), seconds), f"no end after {self.received} bytes"
        return self.ends[0]

    def _hear(self, note: Callable[[], object]) -> None:
        self.overlaps += not self._inside.acquire(blocking=False)
        with self._changed:
            self.calls_after_end += bool(self.ends)
            note()
            action, self._on_first_bytes = self._on_first_bytes, None
            self._changed.notify_all()
        if action is not None:
            action()
        self._inside.release()


class ShellCase(Protocol):
    """One implementation, with hosts. `close` ends all of it."""

    shell: RemoteShell
    host: Host
    answering_port: int  # what is sent there up to a newline comes back in capitals, and the connection is closed
    silent_port: int  # nothing listens there

    def unreachable(self) -> Host:
        """A host that cannot be reached."""

    def refusing(self) -> Host:
        """A host that takes none of our keys."""

    def impostor(self) -> Host:
        """A host with another key than it should have."""

    def moving(self) -> tuple[Host, Host, Callable[[], None]]:
        """A host, the machine that takes its place elsewhere, and what makes the first one unreachable."""

    def lose_connections(self) -> None:
        """End every connection to `host` from its side."""

    def close(self) -> None:
        """Close the shell and the hosts."""


class FakeCase:
    """The shell in memory."""

    answering_port = 8000
    silent_port = 8001

    def __init__(self) -> None:
        self.host = a_host("w0", "127.0.0.1")
        self.fake = FakeShell(
            runs=[
                RunScript(answers=[_play_run]),
                RunScript(argv=BOTH_STREAMS, answers=[CommandResult(exit_status=3, stdout=b"out", stderr=b"err")]),
                RunScript(argv=KILLED, answers=[CommandResult(exit_status=137)]),
                RunScript(
                    argv=ENDLESS,
                    answers=[CommandTimeoutError("too long", host=self.host.name, argv=ENDLESS, seconds=0.2)],
                ),
            ],
            starts=[
                StartScript(handler=_play_count, argv=COUNT),
                StartScript(handler=_play_cat, argv=CAT),
                StartScript(handler=_play_flood, argv=FLOOD),
                StartScript(handler=lambda process: process.exit(137), argv=KILLED),
                StartScript(handler=_play_both_streams, argv=BOTH_STREAMS),
            ],
            exchanges=[ExchangeScript(port=self.answering_port, answers=[bytes.upper])],
            unreachable=["gone"],
            taken_ports=[9999],
        )
        self.shell: RemoteShell = self.fake

    def unreachable(self) -> Host:
        """See `ShellCase`."""
        return a_host("gone", "127.0.0.3")

    def refusing(self) -> Host:
        """See `ShellCase`."""
        self.fake.break_host("refusing", AuthenticationFailedError("refused our keys", host="refusing"))
        return a_host("refusing", "127.0.0.2")

    def impostor(self) -> Host:
        """See `ShellCase`."""
        self.fake.break_host("impostor", HostKeyError("another key", host="impostor"))
        return a_host("impostor", "127.0.0.1")

    def moving(self) -> tuple[Host, Host, Callable[[], None]]:
        """See `ShellCase`."""
        old, new = a_host("moving", "127.0.0.6"), a_host("moving", "127.0.0.1")
        return old, new, lambda: self.fake.break_host(old.address)

    def lose_connections(self) -> None:
        """See `ShellCase`."""
        self.fake.drop(self.host.name)

    def close(self) -> None:
        """See `ShellCase`."""
        self.fake.close()


class FabricCase:
    """The shell over SSH, and a real sshd on loopback."""

    def __init__(self, sshd: Sshd, directory: Path) -> None:
        self._sshd = sshd
        self._stack = ExitStack()
        self.answering_port = self._stack.enter_context(Answering()).port
        self.silent_port = free_port()
        self.host = a_host("w0", sshd.address)
        self.directory = directory
        self._host_keys: dict[str, str] = {}
        self.fabric = FabricShell(ssh_config(sshd, directory), SystemClock(), self._reported)
        self.shell: RemoteShell = self.fabric
        self._stack.callback(self.fabric.close)

    def unreachable(self) -> Host:
        """See `ShellCase`."""
        return a_host("gone", "127.0.0.3")

    def refusing(self) -> Host:
        """See `ShellCase`."""
        return a_host("refusing", "127.0.0.2")

    def impostor(self) -> Host:
        """See `ShellCase`."""
        return a_host("impostor", self._sshd.address)

    def moving(self) -> tuple[Host, Host, Callable[[], None]]:
        """See `ShellCase`."""
        directory = self.directory / "moving"
        directory.mkdir()
        other = Sshd(directory, address="127.0.0.6", port=self._sshd.port)
        (directory / "authorized_keys").write_bytes((self._sshd.directory / "authorized_keys").read_bytes())
        self._stack.enter_context(other)
        self._host_keys["moving"] = other.host_key_line
        return a_host("moving", other.address), a_host("w0", self._sshd.address), other.stop

    def lose_connections(self) -> None:
        """See `ShellCase`."""
        self._sshd.kill_sessions()

    def close(self) -> None:
        """See `ShellCase`."""
        self._stack.close()

    def _reported(self, host: Host) -> Sequence[str]:
        if host.name == "impostor":
            other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAtdrXUDQtOo4JAEhYzK3rWtEkRcZJtqsTSYaSQKZRc5"
            return [other]
        return [self._host_keys.get(host.instance_id, self._sshd.host_key_line)]


class LocalCase:
    """The shell of local mode. It runs no commands, so only a part of the suite is for it."""

    def __init__(self) -> None:
        self._stack = ExitStack()
        self.answering_port = self._stack.enter_context(Answering()).port
        self.silent_port = free_port()
        self.host = a_host("local", "127.0.0.1")
        self.shell: RemoteShell = LocalShell(SystemClock())

    def close(self) -> None:
        """See `ShellCase`."""
        self.shell.close()
        self._stack.close()


# Lines of sshd's configuration that give it a second address, where it lets nobody in.
REFUSING_ADDRESS = ("ListenAddress 127.0.0.2", "Match LocalAddress 127.0.0.2", "  AuthorizedKeysFile none")


def ssh_config(sshd: Sshd, directory: Path, **settings: float) -> SshConfig:
    """How to reach `sshd`."""
    return SshConfig(
        user=sshd.user,
        key_file=str(sshd.user_key),
        port=sshd.port,
        known_hosts_file=str(directory / "known_hosts"),
        **settings,  # type: ignore[arg-type] # each is a number of seconds
    )


def a_host(name: str, address: str) -> Host:
    """A worker's host; its instance id is its name."""
    return Host(name=name, role=HostRole.WORKER, address=address, instance_id=name, worker_index=0)


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class _Capitals(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline().upper())


class Answering(socketserver.ThreadingTCPServer):
    """A server on loopback that sends back a line in capitals and closes."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Capitals)
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, name="answering")
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()


def _play_run(command: FakeCommand) -> CommandResult:
    if command.argv[: len(PRINT_ARGUMENTS)] == PRINT_ARGUMENTS:
        printed = "".join(f"<{argument}>\n" for argument in command.argv[len(PRINT_ARGUMENTS) :])
        return CommandResult(exit_status=0, stdout=printed.encode())
    return CommandResult(exit_status=0, stdout=command.stdin if command.argv == CAT else b"")


def _play_count(process: FakeProcess) -> None:
    text = "".join(f"{number}\n" for number in range(1, 20001)).encode()
    for at in range(0, len(text), 1000):
        process.emit_stdout(text[at : at + 1000])
    process.exit(0)


def _play_cat(process: FakeProcess) -> None:
    process.when_written(process.emit_stdout)


def _play_flood(process: FakeProcess) -> None:
    piece = bytes(1 << 20)
    for _ in range(FLOOD_BYTES // len(piece)):
        process.emit_stdout(piece)
    process.exit(0)


def _play_both_streams(process: FakeProcess) -> None:
    process.emit_stdout(b"out")
    process.emit_stderr(b"err")
    process.exit(3)
