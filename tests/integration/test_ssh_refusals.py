"""Hosts that let us in and then do not do what they are asked: each is an error that says so, and the next command is not held up."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import asyncssh
import pytest

from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.config import SshConfig
from iris_core.errors import ConnectionLostError
from tests.contracts.remote_shell_cases import a_host
from tests.support.sshd import make_key

if TYPE_CHECKING:
    from collections.abc import Iterator
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
def shell_to(directory: Path, *, sessions: bool) -> Iterator[FabricShell]:
    """A shell whose host is such a server."""
    line = make_key(directory / "host_key")
    make_key(directory / "user_key")
    loop = asyncio.new_event_loop()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            server_factory=lambda: Server(sessions=sessions),
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


def test_a_host_that_opens_no_session(tmp_path: Path) -> None:
    """As an sshd does that has reached its MaxSessions."""
    with shell_to(tmp_path, sessions=False) as shell:
        for _ in range(2):
            with pytest.raises(
                ConnectionLostError, match=r"w0 .*opened no channel.*Resource shortage.*too many sessions"
            ):
                shell.run(HOST, ["true"], timeout_seconds=20)


def test_a_host_that_runs_no_command(tmp_path: Path) -> None:
    """Its refusal names the command, and the connection goes on."""
    with shell_to(tmp_path, sessions=True) as shell:
        with pytest.raises(ConnectionLostError, match="it will not run docker version"):
            shell.run(HOST, ["docker", "version"], timeout_seconds=20)
        assert shell.run(HOST, ["true"], timeout_seconds=20).exit_status == 0
