"""A process that only joins its input and output to a Unix socket of its host: sshd connects to that itself, where it may."""

from __future__ import annotations

import socket
import socketserver
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.errors import ConnectionLostError
from tests.contracts.remote_shell_cases import Recorder, a_host, ssh_config
from tests.support.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab

FLOOD_BYTES = 64 * (1 << 20)
COMMAND = ("echo", "the command ran")


class Answering(socketserver.BaseRequestHandler):
    """`echo`: what comes goes back in capitals; `flood`: many bytes, then the end; `bye`: the end."""

    def handle(self) -> None:
        """See socketserver."""
        while data := self.request.recv(1 << 16):
            match data:
                case b"flood\n":
                    block = bytes(range(256)) * 4096
                    for _ in range(FLOOD_BYTES // len(block)):
                        self.request.sendall(block)
                    return
                case b"bye\n":
                    return
                case _:
                    self.request.sendall(data.upper())


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@contextmanager
def served(path: str) -> Iterator[None]:
    """While the context is open, such a server listens there."""
    with Server(path, Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def free_path() -> Iterator[str]:
    """Where there is no socket yet; short, as a socket's path must be."""
    with tempfile.TemporaryDirectory(prefix="iris-") as directory:
        yield str(Path(directory, "engine.sock"))


@pytest.fixture(scope="module")
def path() -> Iterator[str]:
    with free_path() as made, served(made):
        yield made


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


class LeapingClock(SystemClock):
    """The system's clock, ahead by `leap` seconds."""

    leap = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.leap


@contextmanager
def shell_to(sshd: Sshd, directory: Path, clock: SystemClock | None = None) -> Iterator[FabricShell]:
    shell = FabricShell(ssh_config(sshd, directory), clock or SystemClock(), lambda _host: [sshd.host_key_line])
    try:
        yield shell
    finally:
        shell.close()


@pytest.fixture
def shell(sshd: Sshd, tmp_path: Path) -> Iterator[FabricShell]:
    with shell_to(sshd, tmp_path) as made:
        yield made


HOST = a_host("w0", "127.0.0.1")


def test_what_is_written_reaches_the_socket_and_its_answer_comes_back(shell: FabricShell, path: str) -> None:
    """No command runs: what comes is the socket's."""
    recorder = Recorder()
    process = shell.start(HOST, COMMAND, recorder, socket_path=path)
    process.write(b"hello\n")

    assert recorder.wait_until(lambda: recorder.stdout == b"HELLO\n")
    process.close()


def test_the_sockets_end_is_an_exit_without_fault_after_its_last_byte(shell: FabricShell, path: str) -> None:
    """As of a command that joins its output to the socket; everything that was sent before has come."""
    recorder = Recorder()
    process = shell.start(HOST, COMMAND, recorder, socket_path=path)
    process.write(b"flood\n")

    assert recorder.end(60) == 0
    assert recorder.received == FLOOD_BYTES
    assert recorder.stdout == bytes(range(256)) * (FLOOD_BYTES // 256)
    assert (recorder.calls_after_end, recorder.overlaps, recorder.ends) == (0, 0, [0])


def test_a_paused_socket_is_held_back_and_nothing_is_lost(shell: FabricShell, path: str) -> None:
    """As a process is: the window closes, and the socket's other end waits."""
    recorder = Recorder(on_first_bytes=lambda: process.pause_reading())  # noqa: PLW0108 - not there yet
    process = shell.start(HOST, COMMAND, recorder, socket_path=path)
    process.write(b"flood\n")

    assert recorder.wait_until(lambda: recorder.received > 0)
    assert not recorder.wait_until(lambda: recorder.received > FLOOD_BYTES // 4, seconds=0.5)
    process.resume_reading()
    assert recorder.end(60) == 0
    assert recorder.received == FLOOD_BYTES


def test_a_closed_process_closes_the_socket(shell: FabricShell) -> None:
    """Its other end sees that, and the connection serves the next one."""
    with free_path() as own, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(own)
        listener.listen()
        listener.settimeout(20)
        process = shell.start(HOST, COMMAND, Recorder(), socket_path=own)
        process.write(b"x")
        with listener.accept()[0] as peer:
            peer.settimeout(20)
            assert peer.recv(10) == b"x"
            process.close()
            assert peer.recv(10) == b""

    assert shell.run(HOST, COMMAND, timeout_seconds=20).stdout == b"the command ran\n"


@pytest.mark.parametrize("missing", [True, False], ids=["missing", "nobody-listens"])
def test_where_the_socket_takes_no_connection_the_command_runs(
    shell: FabricShell, tmp_path: Path, *, missing: bool
) -> None:
    """It says what is wrong in its own words, or gets there in another way (sudo)."""
    path = tmp_path / "s"
    if not missing:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
    recorder = Recorder()
    shell.start(HOST, COMMAND, recorder, socket_path=str(path))

    assert recorder.end() == 0
    assert recorder.stdout == b"the command ran\n"


def test_where_sshd_forbids_it_the_command_runs_and_it_is_asked_once_a_connection(path: str, tmp_path: Path) -> None:
    """`AllowStreamLocalForwarding no`: what was written before reaches the command."""
    with (
        Sshd(tmp_path, options=["AllowStreamLocalForwarding no", "LogLevel VERBOSE"]) as sshd,
        shell_to(sshd, tmp_path) as shell,
    ):
        for number in range(3):
            recorder = Recorder()
            process = shell.start(HOST, ["head", "-c", "1"], recorder, socket_path=path)
            process.write(b"%d" % number)
            assert recorder.end() == 0
            assert recorder.stdout == b"%d" % number

    assert (tmp_path / "sshd.log").read_text().count("refused streamlocal") == 1


def test_after_a_minute_the_socket_is_tried_again(sshd: Sshd, tmp_path: Path) -> None:
    """It may only have been away for a moment, as an engine is that is started anew; and the command may not be allowed at all."""
    clock = LeapingClock()
    with shell_to(sshd, tmp_path, clock) as shell, free_path() as path:
        other = Recorder()
        shell.start(HOST, ("sleep", "60"), other)  # so that the connection stays

        def answers() -> bytes:
            recorder = Recorder()
            process = shell.start(HOST, ("head", "-c", "5"), recorder, socket_path=path)
            process.write(b"hello")
            assert recorder.wait_until(lambda: recorder.received == 5)
            process.close()
            return recorder.stdout

        assert answers() == b"hello"
        with served(path):
            assert answers() == b"hello"
            clock.leap += 61
            assert answers() == b"HELLO"
        assert not other.ends


def test_a_socket_is_lost_with_its_connection(sshd: Sshd, shell: FabricShell, path: str) -> None:
    """That is an error, not an end: what the socket sent afterwards is unknown."""
    recorder = Recorder()
    process = shell.start(HOST, COMMAND, recorder, socket_path=path)
    process.write(b"x")
    assert recorder.wait_until(lambda: recorder.stdout == b"X")
    sshd.kill_sessions()

    assert isinstance(recorder.end(), ConnectionLostError)
