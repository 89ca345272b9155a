"""Hosts that hang up before they let us in, or let us in and then do not do what they are asked: each is an error that says so."""

from __future__ import annotations

import asyncio
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import asyncssh
import pytest

from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.config import SshConfig
from iris_core.errors import AuthenticationFailedError, ConnectionLostError
from tests.contracts.remote_shell_cases import a_host
from tests.support.sshd import Sshd, make_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

HOST = a_host("w0", "127.0.0.1")


class Server(asyncssh.SSHServer):
    """Lets everybody in; opens no session, or (`sessions`) one that runs no command but `true`."""

    def __init__(self, *, sessions: bool) -> None:
        self._sessions = sessions

    def begin_auth(self, _username: str) -> bool:
        """See asyncssh."""
        return False

    def session_requested(self) -> Session:
        """See asyncssh."""
        if not self._sessions:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_RESOURCE_SHORTAGE, "no more")
        return Session()


class HangingUp(asyncssh.SSHServer):
    """Ends the connection when it is shown a key, with these words or none."""

    def __init__(self, words: str) -> None:
        self._words = words

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        """See asyncssh."""
        self._connection = conn

    def public_key_auth_supported(self) -> bool:
        """See asyncssh."""
        return True

    def validate_public_key(self, _username: str, _key: asyncssh.SSHKey) -> bool:
        """See asyncssh."""
        if self._words:
            self._connection.disconnect(asyncssh.DISC_PROTOCOL_ERROR, self._words)
        else:
            self._connection.abort()
        return False


class Session(asyncssh.SSHServerSession[bytes]):
    """Runs `true`, in pretence."""

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """See asyncssh."""
        self._channel = chan

    def exec_requested(self, command: str) -> bool:
        """See asyncssh."""
        return command == "true"

    def session_started(self) -> None:
        """See asyncssh."""
        self._channel.exit(0)


@contextmanager
def shell_to(directory: Path, server: Callable[[], asyncssh.SSHServer]) -> Iterator[FabricShell]:
    """A shell whose host is such a server."""
    line = make_key(directory / "host_key")
    make_key(directory / "user_key")
    loop = asyncio.new_event_loop()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=server,
            server_host_keys=[str(directory / "host_key")],
            encoding=None,
        )

    acceptor = loop.run_until_complete(listen())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    config = SshConfig(
        user="anybody",
        key_file=str(directory / "user_key"),
        port=acceptor.get_port(),
        known_hosts_file=str(directory / "known_hosts"),
    )
    shell = FabricShell(config, SystemClock(), lambda _host: [" ".join(line.split()[:2])])
    try:
        yield shell
    finally:
        shell.close()
        asyncio.run_coroutine_threadsafe(_close(acceptor), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _close(acceptor: asyncssh.SSHAcceptor) -> None:
    acceptor.close()
    await acceptor.wait_closed()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("Too many authentication failures", r"hung up \(Too many authentication failures\) .*'anybody'.*ssh-add"),
        ("", r"hung up without a word .*'anybody'.*roles/compute.osAdminLogin"),
    ],
    ids=["with words", "without"],
)
def test_a_host_that_hangs_up_when_it_is_shown_a_key(tmp_path: Path, words: str, told: str) -> None:
    """OpenSSH does, with words after too many keys, without them where PAM refuses the account. The key was not what it refused."""
    with shell_to(tmp_path, lambda: HangingUp(words)) as shell, pytest.raises(AuthenticationFailedError, match=told):
        shell.run(HOST, ["true"], timeout_seconds=20)


@pytest.mark.lab
@pytest.mark.parametrize("methods", ["publickey,publickey", "publickey,password"])
def test_a_host_that_wants_more_than_a_key(tmp_path: Path, methods: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told at once. Paramiko takes the one for a login, and asks for the other on the terminal."""
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("something asked on the terminal"))
    directory = tmp_path / "sshd"
    directory.mkdir()
    options = [
        "Match all",
        f"AuthenticationMethods {methods}",
        "PasswordAuthentication yes",
    ]  # which overrides the usual
    with Sshd(directory, options=options) as sshd:
        config = SshConfig(
            user=sshd.user,
            key_file=str(sshd.user_key),
            port=sshd.port,
            known_hosts_file=str(tmp_path / "known_hosts"),
        )
        with (
            closing(FabricShell(config, SystemClock(), lambda _host: [sshd.host_key_line])) as shell,
            pytest.raises(AuthenticationFailedError, match=r"wants more than a public key .*service account"),
        ):
            shell.run(HOST, ["true"], timeout_seconds=10)  # sshd itself would wait two minutes


def test_a_host_that_opens_no_session(tmp_path: Path) -> None:
    """As an sshd does that has reached its MaxSessions."""
    with shell_to(tmp_path, lambda: Server(sessions=False)) as shell:
        for _ in range(2):
            with pytest.raises(
                ConnectionLostError, match=r"w0 .*opened no channel.*Resource shortage.*too many sessions"
            ):
                shell.run(HOST, ["true"], timeout_seconds=20)


def test_a_host_that_runs_no_command(tmp_path: Path) -> None:
    """Its refusal names the command, and the connection goes on."""
    with shell_to(tmp_path, lambda: Server(sessions=True)) as shell:
        with pytest.raises(ConnectionLostError, match="it will not run docker version"):
            shell.run(HOST, ["docker", "version"], timeout_seconds=20)
        assert shell.run(HOST, ["true"], timeout_seconds=20).exit_status == 0
