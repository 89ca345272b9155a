"""Streams over real SSH: many, large, re-keyed, broken again and again; gateways; and what a closed shell leaves behind."""

from __future__ import annotations

import gc
import hashlib
import os
import socket
import threading
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from paramiko.packet import Packetizer

from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.config import SshConfig
from iris_core.errors import AuthenticationFailedError, ConnectionLostError, HostKeyError, HostUnreachableError
from tests.contracts.remote_shell_cases import CAT, Answering, Recorder, a_host
from tests.support.proxy import FaultyProxy, Mode, random_triggers
from tests.support.sshd import Sshd, make_key

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.lab

HOST = a_host("w0", "127.0.0.1")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd"), options=["ListenAddress 127.0.0.2"]) as server:
        yield server


def config_of(sshd: Sshd, directory: Path, port: int | None = None) -> SshConfig:
    return SshConfig(
        user=sshd.user,
        key_file=str(sshd.user_key),
        port=port or sshd.port,
        known_hosts_file=str(directory / "known_hosts"),
    )


@pytest.fixture
def shell(sshd: Sshd, tmp_path: Path) -> Iterator[FabricShell]:
    made = FabricShell(config_of(sshd, tmp_path), SystemClock(), lambda _host: [sshd.host_key_line])
    yield made
    made.close()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Digest(Recorder):
    """Keeps a hash instead of the bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()
        self.count = 0

    def on_stdout(self, data: bytes) -> None:
        """See `ProcessListener`."""
        self.sha256.update(data)
        self.count += len(data)


def test_fifty_streams_to_fifty_hosts_at_once(sshd: Sshd, shell: FabricShell) -> None:
    """Each gets its own bytes, whole and in order, and one thread reads all connections."""
    before = threading.active_count()
    recorders = [Recorder() for _ in range(50)]
    hosts = [a_host(f"w{number}", sshd.address) for number in range(50)]

    for number, (host, recorder) in enumerate(zip(hosts, recorders, strict=True)):
        shell.start(host, ("sh", "-c", f"seq {number} 50 20000; sleep 2; echo end"), recorder)

    for recorder in recorders:
        assert recorder.wait_until(partial(lambda heard: heard.stdout.count(b"\n") >= 400, recorder), 60)
    reading = [thread.name for thread in threading.enumerate() if thread.name.startswith("iris-ssh-")]
    assert {"iris-ssh-reactor", "iris-ssh-watchdog"} <= set(reading)
    assert threading.active_count() - before <= 2 + 8  # and workers that are about to end
    for number, recorder in enumerate(recorders):
        assert recorder.end() == 0
        lines = recorder.stdout.decode().splitlines()
        assert lines == [*map(str, range(number, 20001, 50)), "end"]


def connections_to(port: int) -> int:
    """How many sockets of this process are connected to the port."""
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        with suppress(OSError), socket.socket(fileno=os.dup(int(entry.name))) as sock:
            count += sock.family == socket.AF_INET and sock.getpeername()[1] == port
    return count


def test_twenty_streams_to_one_host_share_connections(sshd: Sshd, shell: FabricShell) -> None:
    """At most eight of a connection's ten sessions are used; the ninth process gets a second connection."""
    recorders = [Recorder() for _ in range(20)]

    processes = [shell.start(HOST, CAT, recorder) for recorder in recorders]
    for process, recorder in zip(processes, recorders, strict=True):
        process.write(b"x")
        assert recorder.wait_until(partial(lambda heard: heard.stdout == b"x", recorder))

    assert connections_to(sshd.port) == 3


def test_a_stream_survives_many_re_keys(shell: FabricShell, monkeypatch: pytest.MonkeyPatch, odd_bytes: int) -> None:
    """Also when a key exchange falls on the last bytes, which with Paramiko alone ends the connection after 30 s."""
    monkeypatch.setattr(Packetizer, "REKEY_BYTES", 1 << 20)
    size = 64 << 20
    listener = Digest()

    shell.start(HOST, ("head", "-c", str(size + odd_bytes), "/dev/zero"), listener)

    assert listener.end(30) == 0
    assert listener.count == size + odd_bytes


@pytest.fixture(params=range(4))
def odd_bytes(request: pytest.FixtureRequest) -> int:
    """An odd number of bytes, so that the stream's end falls on different places of a key exchange."""
    return int(request.param) * 10_007


def test_commands_whose_ends_meet_re_keys(shell: FabricShell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty short streams of about the limit's size over one connection: none is lost, none waits the 30 s of Paramiko's deadlock."""
    monkeypatch.setattr(Packetizer, "REKEY_BYTES", 1 << 18)

    for number in range(40):
        size = (1 << 18) - 2000 + number * 100
        assert len(shell.run(HOST, ("head", "-c", str(size), "/dev/zero"), timeout_seconds=20).stdout) == size


def test_a_paused_flood_takes_a_window_of_memory(shell: FabricShell) -> None:
    """While the remote side wants to write 100 MB, the client stays within a few MB."""
    listener = Digest()
    shell.run(HOST, ("true",), timeout_seconds=20)
    gc.collect()
    before = resident_bytes()
    process = shell.start(HOST, ("head", "-c", str(100 << 20), "/dev/zero"), listener)
    process.pause_reading()

    time.sleep(1.5)

    assert resident_bytes() - before < 12 << 20
    assert listener.count < 1 << 20
    process.resume_reading()
    assert listener.end(30) == 0
    assert listener.count == 100 << 20


def test_a_forward_outlives_its_connection(sshd: Sshd, shell: FabricShell) -> None:
    """The local port stays; the next client gets a connection made anew; a client that was on the old one is reset."""
    with Answering() as server, shell.forward(HOST, server.port) as forward:
        assert forward.exchange(b"one\n", 10) == b"ONE\n"
        with socket.create_connection(("127.0.0.1", forward.local_port), 10) as idle:
            idle.sendall(b"half a line")
            time.sleep(0.3)

            sshd.kill_sessions()

            with pytest.raises(ConnectionResetError):
                idle.recv(1)
        assert forward.exchange(b"two\n", 10) == b"TWO\n"


def test_a_forward_carries_megabytes_both_ways_and_half_closes(shell: FabricShell) -> None:
    """The server reads to the end that the client sent, and only then answers."""
    received: list[int] = []

    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer:
            total = 0
            while piece := peer.recv(1 << 16):
                total += len(piece)
            received.append(total)
            peer.sendall(b"y" * 20_000_000)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with (
            shell.forward(HOST, listener.getsockname()[1]) as forward,
            socket.create_connection(("127.0.0.1", forward.local_port), 10) as client,
        ):
            client.sendall(b"x" * 20_000_000)
            client.shutdown(socket.SHUT_WR)
            answer = client.makefile("rb").read()
        thread.join()

    assert received == [20_000_000]
    assert answer == b"y" * 20_000_000


def test_a_slow_client_of_a_forward_does_not_hold_up_others(shell: FabricShell) -> None:
    """It is held back alone: its window closes, the connection goes on."""

    def serve(listener: socket.socket) -> None:
        peer, _ = listener.accept()
        with peer, suppress(OSError):
            while True:
                peer.sendall(bytes(1 << 16))

    with socket.create_server(("127.0.0.1", 0)) as listener, Answering() as quick:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        with (
            shell.forward(HOST, listener.getsockname()[1]) as flood,
            shell.forward(HOST, quick.port) as forward,
        ):
            with socket.create_connection(("127.0.0.1", flood.local_port), 10):
                time.sleep(0.5)
                assert forward.exchange(b"quick\n", 5) == b"QUICK\n"
                assert shell.run(HOST, CAT, timeout_seconds=5, stdin=b"quick").stdout == b"quick"
            thread.join(10)
            assert not thread.is_alive()


@pytest.mark.parametrize("seed", range(3))
def test_what_arrives_over_a_breaking_network_is_always_a_prefix(sshd: Sshd, tmp_path: Path, seed: int) -> None:
    """Whatever breaks and wherever the stream is cut: bytes in order, none twice, then one end."""
    expected = "".join(f"{number}\n" for number in range(1, 400_001)).encode()
    triggers = random_triggers(seed, 6, 8_000_000, [Mode.RESET, Mode.STALL, Mode.SLOW], pass_after_seconds=0.2)
    with FaultyProxy((sshd.address, sshd.port), triggers=triggers, seed=seed, bytes_per_second=1_000_000) as proxy:
        shell = FabricShell(config_of(sshd, tmp_path, proxy.port), SystemClock(), lambda _host: [sshd.host_key_line])
        for _ in range(6):
            recorder = Recorder()
            shell.start(HOST, ("seq", "1", "400000"), recorder)
            end = recorder.end(30)
            assert expected.startswith(recorder.stdout)
            assert isinstance(end, ConnectionLostError | HostUnreachableError) or (end, recorder.stdout) == (
                0,
                expected,
            )
            assert (len(recorder.ends), recorder.calls_after_end, recorder.overlaps) == (1, 0, 0)
        shell.close()


class TestGateways:
    def test_a_proxy_command_is_used_and_ends_with_the_shell(self, sshd: Sshd, tmp_path: Path) -> None:
        """The command of ~/.ssh/config gets the connection; its process is gone after `close`."""
        port_file = tmp_path / "pids"
        relay = tmp_path / "relay.py"
        relay.write_text(RELAY.format(port=sshd.port, pids=port_file))
        config = tmp_path / "config"
        config.write_text(f"Host 10.1.2.3\n  ProxyCommand python3 {relay}\n")
        shell = FabricShell(
            config_of(sshd, tmp_path), SystemClock(), lambda _host: [sshd.host_key_line], ssh_config_file=config
        )

        result = shell.run(a_host("far", "10.1.2.3"), CAT, timeout_seconds=20, stdin=b"through")
        pid = int(port_file.read_text())
        shell.close()

        assert result.stdout == b"through"
        ends_at = time.monotonic() + 3
        while Path(f"/proc/{pid}").exists():
            assert time.monotonic() < ends_at
            time.sleep(0.02)

    def test_a_proxy_command_that_fails_is_an_unreachable_host(self, sshd: Sshd, tmp_path: Path) -> None:
        """At once, not after the connect timeout."""
        config = tmp_path / "config"
        config.write_text("Host 10.1.2.3\n  ProxyCommand false\n")
        shell = FabricShell(
            config_of(sshd, tmp_path), SystemClock(), lambda _host: [sshd.host_key_line], ssh_config_file=config
        )
        began = time.monotonic()

        with pytest.raises(HostUnreachableError):
            shell.run(a_host("far", "10.1.2.3"), CAT, timeout_seconds=20)

        assert time.monotonic() - began < 3
        shell.close()

    @pytest.mark.parametrize("known", ["its key", "another key", "no key"])
    def test_a_jump_host_is_used_if_its_key_is_known(
        self, request: pytest.FixtureRequest, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known: str
    ) -> None:
        """The user's known_hosts decides about gateways; an unknown one is refused, and one that has changed is named, not the host."""
        home = tmp_path / "home"
        (home / ".ssh").mkdir(parents=True)
        monkeypatch.setenv("HOME", str(home))
        if known != "no key":
            line = sshd.host_key_line if known == "its key" else make_key(tmp_path / "another")
            key = " ".join(line.split()[:2])
            (home / ".ssh" / "known_hosts").write_text(f"[127.0.0.2]:{sshd.port} {key}\n")
        config = tmp_path / "config"
        config.write_text(
            f"Host far.example\n  Hostname 127.0.0.1\n  ProxyJump {sshd.user}@127.0.0.2:{sshd.port}\n"
            f"Host 127.0.0.2\n  IdentityFile {sshd.user_key}\n"
        )
        shell = FabricShell(
            config_of(sshd, tmp_path), SystemClock(), lambda _host: [sshd.host_key_line], ssh_config_file=config
        )
        request.addfinalizer(shell.close)
        host = a_host("far", "far.example")

        if known == "its key":
            assert shell.run(host, CAT, timeout_seconds=20, stdin=b"jump").stdout == b"jump"
        else:
            told = (
                r"gateway (\[127.0.0.2\]:\d+) shows .*ssh-keygen -R '\1'"
                if known == "another key"
                else "of its gateway"
            )
            with pytest.raises(HostKeyError, match=told):
                shell.run(host, CAT, timeout_seconds=20)
        shell.close()
        ends_at = time.monotonic() + 3
        while [thread for thread in threading.enumerate() if thread.name.startswith("iris-ssh-")]:
            assert time.monotonic() < ends_at  # the gateway's own thread sees its socket's end a moment later
            time.sleep(0.02)


def test_an_encrypted_key_without_an_agent_says_what_to_do(
    sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the file and ssh-add."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    key = tmp_path / "locked"
    make_key(key, passphrase="secret")
    config = SshConfig(
        user=sshd.user, key_file=str(key), port=sshd.port, known_hosts_file=str(tmp_path / "known_hosts")
    )
    shell = FabricShell(config, SystemClock(), lambda _host: [sshd.host_key_line])

    with pytest.raises(AuthenticationFailedError, match="ssh-add"):
        shell.run(HOST, CAT, timeout_seconds=20)
    shell.close()


RELAY = """
import os, selectors, socket, sys
with open("{pids}", "w") as file:
    file.write(str(os.getpid()))
sock = socket.create_connection(("127.0.0.1", {port}))
selector = selectors.DefaultSelector()
selector.register(0, selectors.EVENT_READ)
selector.register(sock, selectors.EVENT_READ)
while True:
    for key, _ in selector.select():
        if key.fileobj == 0:
            data = os.read(0, 65536)
            if not data:
                sys.exit()
            sock.sendall(data)
        else:
            data = sock.recv(65536)
            if not data:
                sys.exit()
            os.write(1, data)
"""
