"""What is the user's own is honoured: ssh-agent, `~/.ssh/config`. And a local port that somebody else has."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from typing import TYPE_CHECKING

import pytest

from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.config import SshConfig
from iris_core.errors import HostUnreachableError, LocalPortInUseError
from tests.contracts.remote_shell_cases import a_host
from tests.support.sshd import Sshd, make_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from iris_core.model import Host

pytestmark = pytest.mark.lab

HOST = a_host("w0", "127.0.0.1")


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd")) as server:
        yield server


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's, with a `.ssh` in it and no agent."""
    path = tmp_path / "home"
    (path / ".ssh").mkdir(parents=True, mode=0o700)
    monkeypatch.setenv("HOME", str(path))
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    return path


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home: Path) -> Iterator[None]:
    """An ssh-agent without keys."""
    assert home.exists()
    address = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(address)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # printed once it listens
        monkeypatch.setenv("SSH_AUTH_SOCK", str(address))
        yield
        process.send_signal(signal.SIGTERM)


def said_by(sshd: Sshd, config: SshConfig, *argv: str, address: str = HOST.address) -> str:
    shell = FabricShell(config, SystemClock(), lambda _host: [sshd.host_key_line])
    try:
        return shell.run(a_host("w0", address), argv, timeout_seconds=20).stdout.decode().strip()
    finally:
        shell.close()


@pytest.mark.usefixtures("agent")
def test_a_key_that_only_the_agent_has_lets_us_in(sshd: Sshd, home: Path) -> None:
    """The pair that iris makes where there is none is not one that the host knows."""
    subprocess.run(["ssh-add", "-q", str(sshd.user_key)], check=True)

    assert said_by(sshd, SshConfig(user=sshd.user, port=sshd.port), "echo", "in") == "in"
    assert (home / ".ssh" / "google_compute_engine").exists()


def test_user_port_key_and_name_come_from_the_users_configuration(sshd: Sshd, home: Path) -> None:
    """The real `~/.ssh/config`, for an address that only it knows; iris's own settings are left at their defaults."""
    (home / ".ssh" / "config").write_text(
        f"Host 10.1.2.*\n  HostName 127.0.0.1\n  Port {sshd.port}\n  User {sshd.user}\n  IdentityFile {sshd.user_key}\n"
    )

    assert said_by(sshd, SshConfig(), "echo", "in", address="10.1.2.3") == "in"


def test_the_users_own_checking_of_host_keys_does_not_weaken_ours(sshd: Sshd, home: Path, tmp_path: Path) -> None:
    """An impostor is refused also where the user's configuration would let it pass."""
    weak = "StrictHost" + "KeyChecking"  # in pieces: nothing in this repository switches it off
    (home / ".ssh" / "config").write_text(f"Host *\n  {weak} no\n")
    other = make_key(tmp_path / "other")
    config = SshConfig(user=sshd.user, port=sshd.port, key_file=str(sshd.user_key))
    shell = FabricShell(config, SystemClock(), lambda _host: [other])

    with pytest.raises(Exception, match="ssh-keygen -R"):
        shell.run(HOST, ["true"], timeout_seconds=20)
    shell.close()


def test_a_proxy_command_that_fails_is_quoted(sshd: Sshd, home: Path) -> None:
    """What it said is what the user needs."""
    (home / ".ssh" / "config").write_text("Host *\n  ProxyCommand sh -c 'echo no route to %h >&2; exit 1'\n")

    with pytest.raises(HostUnreachableError, match=r"It said: no route to 127\.0\.0\.1\."):
        said_by(sshd, SshConfig(user=sshd.user, key_file=str(sshd.user_key)), "true")


class TestLocalPort:
    def test_a_port_that_another_process_has_names_the_process(self, sshd: Sshd, home: Path) -> None:
        """Port, command and process id."""
        assert home.exists()
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            with pytest.raises(LocalPortInUseError, match=rf"taken by .*\(process {os.getpid()}\)") as caught:
                forwarded(sshd, port, lambda _host: [sshd.host_key_line])
        assert caught.value.port == port
        assert f"local port {port} " in str(caught.value)

    def test_two_that_want_a_port_at_the_same_moment_do_not_both_get_it(self, sshd: Sshd, home: Path) -> None:
        """Both may bind it before either listens; then the second one is told, not left with a broken port."""
        assert home.exists()
        with socket.socket() as rival:
            rival.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            rival.bind(("127.0.0.1", 0))

            def rival_is_quicker(_host: Host) -> list[str]:
                """Asked while the forward connects, which is before it listens."""
                rival.listen()
                return [sshd.host_key_line]

            with pytest.raises(LocalPortInUseError):
                forwarded(sshd, rival.getsockname()[1], rival_is_quicker)


def forwarded(sshd: Sshd, local_port: int, reported: Callable[[Host], Sequence[str]]) -> None:
    """Open a forward from the port, and close it."""
    config = SshConfig(user=sshd.user, port=sshd.port, key_file=str(sshd.user_key))
    shell = FabricShell(config, SystemClock(), reported)
    try:
        with shell.forward(HOST, 1, local_port):
            pass
    finally:
        shell.close()
