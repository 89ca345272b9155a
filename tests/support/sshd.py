"""A real sshd on loopback that is this test's own: own host key, own user key, own port, ended by its process id."""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

_START_SECONDS = 10.0
_CONFIG = """\
Port {port}
ListenAddress {address}
HostKey {directory}/host_key
PidFile none
AuthorizedKeysFile {directory}/authorized_keys
AuthenticationMethods publickey
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
UsePAM no
StrictModes no
PrintMotd no
MaxStartups 200:30:400
"""


def find_sshd() -> str:
    """The path of sshd; skips the test where there is none, unless IRIS_REQUIRE_LAB=1 says that there must be."""
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/sbin")
    if found is None:
        reason = "openssh-server is not installed"
        if os.environ.get("IRIS_REQUIRE_LAB") == "1":
            pytest.fail(f"{reason}, and IRIS_REQUIRE_LAB=1")
        pytest.skip(reason)
    return found


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "", options: Sequence[str] = ()) -> str:
    """Make a key pair at `path` and return its public line; `options` are ssh-keygen's."""
    argv = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "test", "-f", str(path), *options]
    subprocess.run(argv, check=True)
    return path.with_name(f"{path.name}.pub").read_text().strip()


class Sshd:
    """One sshd. It runs as the current user and lets only that user in, by key.

    Args:
        directory: an empty directory for its files.
        address: what it listens on; any address of 127.0.0.0/8.
        port: where. None: a free one.
        options: further lines of its configuration.

    Attributes:
        address, port: where it listens.
        user_key: the private key that it accepts.
        host_key_line: its host key, `TYPE BASE64 COMMENT`.
    """

    def __init__(
        self, directory: Path, *, address: str = "127.0.0.1", port: int | None = None, options: Sequence[str] = ()
    ) -> None:
        self.address = address
        self.directory = directory
        self.user = getpass.getuser()
        self.user_key = directory / "user_key"
        self._binary = find_sshd()
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.host_key_line = make_key(directory / "host_key")
        (directory / "authorized_keys").write_text(make_key(self.user_key) + "\n")
        self.port = _free_port(address) if port is None else port

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def change_host_key(self) -> None:
        """Make a new host key; it counts from the next `start`."""
        (self.directory / "host_key").unlink()
        self.host_key_line = make_key(self.directory / "host_key")

    def start(self) -> None:
        """Start it and wait until it accepts connections."""
        config = self.directory / "sshd_config"
        lines = _CONFIG.format(port=self.port, address=self.address, directory=self.directory)
        config.write_text(lines + "\n".join(self._options) + "\n")
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it for its privilege separation
        log = self.directory / "sshd.log"
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                [self._binary, "-D", "-e", "-f", str(config)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        ends_at = time.monotonic() + _START_SECONDS
        while time.monotonic() < ends_at and self._process.poll() is None:
            with suppress(OSError), socket.create_connection((self.address, self.port), timeout=1.0):
                return
            time.sleep(0.02)
        self.stop()
        pytest.fail(f"sshd did not start:\n{log.read_text()}")

    def stop(self) -> None:
        """End it and all its sessions."""
        process, self._process = self._process, None
        if process is None:
            return
        sessions = descendants(process.pid)
        process.terminate()
        process.wait(5)
        for pid in sessions:
            _signal(pid, signal.SIGCONT)
            _signal(pid, signal.SIGKILL)

    def sessions(self) -> list[int]:
        """The process ids of its sessions: sshd's own processes and what runs in them."""
        return descendants(self._process.pid) if self._process else []

    def kill_sessions(self) -> None:
        """End all sessions at once, and what runs in them; the sshd that listens goes on."""
        for pid in self.sessions():
            _signal(pid, signal.SIGKILL)

    def signal_sshd_sessions(self, number: int) -> int:
        """Send a signal to the sshd processes of all sessions, not to the commands in them. Returns to how many."""
        pids = [pid for pid in self.sessions() if _command_of(pid).startswith("sshd")]
        for pid in pids:
            _signal(pid, number)
        return len(pids)


def descendants(pid: int) -> list[int]:
    """The process ids of all children of `pid`, their children, and so on."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, IndexError):
                parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                parents.setdefault(parent, []).append(int(entry.name))
    found: list[int] = []
    left = [pid]
    while left:
        children = parents.get(left.pop(), [])
        found += children
        left += children
    return found


def _command_of(pid: int) -> str:
    with suppress(OSError):
        return Path(f"/proc/{pid}/comm").read_text().strip()
    return ""


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        port: int = probe.getsockname()[1]
        return port
