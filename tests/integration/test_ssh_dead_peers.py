"""Peers that fall silent, break off, or hang: each must become a `ConnectionLostError` in time."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.config import SshConfig
from iris_core.errors import CommandTimeoutError, ConnectionLostError, HostUnreachableError
from tests.contracts.remote_shell_cases import Recorder, a_host
from tests.support.garbage import kept_from_collector
from tests.support.proxy import FaultyProxy, Mode, Trigger
from tests.support.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from iris_core.model import Host

pytestmark = pytest.mark.lab

CHATTER = ("sh", "-c", "while :; do echo line; sleep 0.2; done")
QUIET = ("sleep", "600")
DEFAULT_DEAD_PEER_SECONDS = SshConfig().dead_peer_seconds
HOST = a_host("w0", "127.0.0.1")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


def shell_to(sshd: Sshd, port: int, directory: Path, **seconds: float) -> FabricShell:
    config = SshConfig(
        user=sshd.user,
        key_file=str(sshd.user_key),
        port=port,
        known_hosts_file=str(directory / "known_hosts"),
        **seconds,  # type: ignore[arg-type] # numbers of seconds
    )
    return FabricShell(config, SystemClock(), lambda _host: [sshd.host_key_line])


def started(shell: FabricShell, argv: tuple[str, ...], host: Host = HOST) -> Recorder:
    """A process that certainly runs."""
    recorder = Recorder()
    shell.start(host, ("sh", "-c", 'echo up; exec "$@"', "sh", *argv), recorder)
    assert recorder.wait_until(lambda: recorder.stdout.startswith(b"up\n"))
    return recorder


def seconds_to_error(recorder: Recorder, most: float) -> float:
    began = time.monotonic()
    assert isinstance(recorder.end(most), ConnectionLostError)
    return time.monotonic() - began


@pytest.mark.parametrize("argv", [CHATTER, QUIET], ids=["chatter", "quiet"])
@pytest.mark.parametrize("mode", [Mode.DROP, Mode.STALL], ids=lambda mode: mode.name.lower())
def test_a_silent_network_is_noticed_within_15_seconds(
    sshd: Sshd, tmp_path: Path, mode: Mode, argv: tuple[str, ...]
) -> None:
    """Whether the process was talking or not, and not before the peer's time is over."""
    with FaultyProxy((sshd.address, sshd.port)) as proxy:
        shell = shell_to(sshd, proxy.port, tmp_path)
        recorder = started(shell, argv)

        proxy.set(mode)

        assert DEFAULT_DEAD_PEER_SECONDS - 1 < seconds_to_error(recorder, 20) < 15
        shell.close()


def test_a_frozen_sshd_is_noticed_within_15_seconds(sshd: Sshd, tmp_path: Path) -> None:
    """Its kernel still acknowledges packets, so only a request that wants an answer finds out."""
    shell = shell_to(sshd, sshd.port, tmp_path)
    recorder = started(shell, QUIET)

    assert sshd.signal_sshd_sessions(signal.SIGSTOP) > 0

    assert DEFAULT_DEAD_PEER_SECONDS - 1 < seconds_to_error(recorder, 20) < 15
    sshd.kill_sessions()
    shell.close()


def test_a_quiet_but_living_peer_is_left_alone(sshd: Sshd, tmp_path: Path) -> None:
    """Silence of the process is not silence of the peer."""
    shell = shell_to(sshd, sshd.port, tmp_path, dead_peer_seconds=0.5)
    recorder = started(shell, QUIET)

    assert not recorder.wait_until(lambda: bool(recorder.ends), seconds=3)
    shell.close()


def test_a_paused_stream_is_not_taken_for_a_dead_peer(sshd: Sshd, tmp_path: Path) -> None:
    """Its window is closed, but the connection answers."""
    shell = shell_to(sshd, sshd.port, tmp_path, dead_peer_seconds=0.5)
    recorder = Recorder()
    process = shell.start(HOST, ("head", "-c", "30000000", "/dev/zero"), recorder)
    process.pause_reading()

    assert not recorder.wait_until(lambda: bool(recorder.ends), seconds=3)
    process.resume_reading()

    assert recorder.end() == 0
    assert recorder.received == 30_000_000
    shell.close()


def test_a_reset_in_the_middle_of_a_stream_is_heard_at_once(sshd: Sshd, tmp_path: Path) -> None:
    """What arrived before it is handed over, save what a reset makes our own kernel throw away."""
    with FaultyProxy((sshd.address, sshd.port), triggers=[Trigger(1_000_000, Mode.RESET)], seed=1) as proxy:
        shell = shell_to(sshd, proxy.port, tmp_path)
        recorder = Recorder()
        shell.start(HOST, ("head", "-c", "30000000", "/dev/zero"), recorder)

        assert isinstance(recorder.end(5), ConnectionLostError)
        assert 0 < recorder.received <= 1_000_000
        shell.close()


def test_lost_connections_leave_nothing_behind(sshd: Sshd, tmp_path: Path) -> None:
    """Whatever used them: a process, or the client of a forward. Of 1,000 hosts that are lost at once 50 MB would be left, each time."""
    with FaultyProxy((sshd.address, sshd.port)) as proxy, socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(10)

        def lose(shell: FabricShell, argv: tuple[str, ...]) -> None:
            recorder = started(shell, argv)
            with (
                shell.forward(HOST, listener.getsockname()[1]) as forward,
                socket.create_connection(("127.0.0.1", forward.local_port)) as client,
            ):
                listener.accept()[0].close()
                assert client.recv(1) == b""
                proxy.set(Mode.RESET)
                assert isinstance(recorder.end(5), ConnectionLostError)
                proxy.set(Mode.PASS)

        def lose_some() -> None:
            shell = shell_to(sshd, proxy.port, tmp_path)
            for argv in (QUIET, CHATTER):
                lose(shell, argv)
            shell.close()

        lose_some()  # what is made once
        with kept_from_collector() as garbage:
            lose_some()

        assert not garbage


def test_hosts_that_cannot_be_connected_to_leave_nothing_behind(sshd: Sshd, tmp_path: Path) -> None:
    """They are tried again and again: one that refuses connections, one that says nothing, one that hangs up while we log in."""
    with (
        FaultyProxy((sshd.address, sshd.port), triggers=[Trigger(1_500, Mode.RESET)], seed=1) as breaking,
        socket.create_server(("127.0.0.1", 0)) as silent,
        closing(socket.socket()) as refusing,
    ):
        refusing.bind(("127.0.0.1", 0))
        hosts = {
            "refuses connections": (refusing.getsockname()[1], 10.0),
            "did not let us in within 1 s": (silent.getsockname()[1], 1.0),
            "hung up|broke the connection": (breaking.port, 10.0),
        }

        with kept_from_collector() as garbage:
            for told, (port, seconds) in hosts.items():
                shell = shell_to(sshd, port, tmp_path, connect_timeout_seconds=seconds)
                recorder = Recorder()
                shell.start(HOST, QUIET, recorder)
                assert re.search(told, str(recorder.end(20)))
                shell.close()
                del shell, recorder

        assert not garbage


def test_a_server_that_is_killed_is_heard_at_once(tmp_path: Path) -> None:
    """All processes of the host hear it, and a `run` under way too; the next one cannot connect."""
    directory = tmp_path / "sshd"
    directory.mkdir()
    with Sshd(directory) as sshd:
        shell = shell_to(sshd, sshd.port, tmp_path)
        recorders = [started(shell, QUIET) for _ in range(3)]

        sshd.stop()

        assert [seconds_to_error(recorder, 5) < 2 for recorder in recorders] == [True] * 3
        with pytest.raises(HostUnreachableError):
            shell.run(HOST, ("true",), timeout_seconds=10)
        shell.close()


@pytest.mark.parametrize("accepts", [True, False], ids=["says nothing", "drops packets"])
def test_connecting_to_a_host_that_says_nothing_ends_in_time(
    request: pytest.FixtureRequest, sshd: Sshd, tmp_path: Path, *, accepts: bool
) -> None:
    """The time covers TCP, key exchange and login together."""
    with socket.create_server(("127.0.0.1", 0), backlog=16 if accepts else 0) as listener:
        port = listener.getsockname()[1]
        shell = shell_to(sshd, port, tmp_path, connect_timeout_seconds=1.0)
        request.addfinalizer(shell.close)
        for filler in [] if accepts else fill_backlog(port):
            request.addfinalizer(filler.close)
        began = time.monotonic()

        with pytest.raises(HostUnreachableError, match="1 s"):
            shell.run(HOST, ("true",), timeout_seconds=30)

        assert 0.9 < time.monotonic() - began < 3


def test_giving_a_host_up_ends_the_attempt_to_connect(sshd: Sshd, tmp_path: Path) -> None:
    """Nobody waits for it any more, so it is not tried to the end of its time; nor is the caller kept."""
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        shell = shell_to(sshd, listener.getsockname()[1], tmp_path, connect_timeout_seconds=60)

        with pytest.raises(CommandTimeoutError):
            shell.run(HOST, ("true",), timeout_seconds=0.5)

        ends_at = time.monotonic() + 3
        while any("connect" in thread.name or "w0" in thread.name for thread in set(threading.enumerate()) - before):
            assert time.monotonic() < ends_at
            time.sleep(0.05)
        shell.close()


def test_close_interrupts_connecting(sshd: Sshd, tmp_path: Path) -> None:
    """A `run` and a `forward` that wait for a connection fail when the shell is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        shell = shell_to(sshd, listener.getsockname()[1], tmp_path, connect_timeout_seconds=60)
        errors: list[BaseException] = []

        def run() -> None:
            with pytest.raises(ConnectionLostError) as caught:
                shell.run(HOST, ("true",), timeout_seconds=60)
            errors.append(caught.value)

        def forward() -> None:
            with pytest.raises((ConnectionLostError, HostUnreachableError)) as caught, shell.forward(HOST, 1):
                pass
            errors.append(caught.value)

        threads = [threading.Thread(target=run), threading.Thread(target=forward)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        began = time.monotonic()

        shell.close()

        for thread in threads:
            thread.join(2)
        assert time.monotonic() - began < 2
        assert len(errors) == 2


def fill_backlog(port: int) -> list[socket.socket]:
    """Take all places of a listener that accepts nothing, so that further packets are dropped."""
    fillers = []
    for _ in range(4):
        filler = socket.socket()
        filler.settimeout(0.0)
        filler.connect_ex(("127.0.0.1", port))
        fillers.append(filler)
    return fillers
