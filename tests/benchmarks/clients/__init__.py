"""The ways to land the logs of many hosts that are measured beside each other, each a program that one process runs.

Every one takes a `Task` as its argument, writes `imported`, begins when it reads a line, and lands the log of every host in
`workers/NAME.txt` below the task's directory. SIGTERM: it stops everything, writes `stopped`, and ends.
"""

from __future__ import annotations

import ctypes
import json
import signal
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

_PR_SET_PDEATHSIG = 1
_SSH_PORT = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What a client is to do.

    Attributes:
        directory: where logs are landed; it exists.
        addresses: of the hosts.
        port: of their sshd.
        user: to log in as.
        key_file: to log in with.
        host_key: of all hosts, `TYPE BASE64`.
        container: whose log is landed.
        watches_labels: whether further containers are looked for, as iris does unless it is told otherwise.
    """

    directory: str
    addresses: list[str]
    port: int
    user: str
    key_file: str
    host_key: str
    container: str
    watches_labels: bool = True

    def as_argument(self) -> str:
        """For the command line."""
        return json.dumps(asdict(self))

    def path(self, number: int) -> Path:
        """Where the log of a host is landed."""
        return Path(self.directory, "workers", f"{host_name(number)}.txt")

    def known_hosts(self) -> Path:
        """A file with the key of every host, as OpenSSH reads it."""
        path = Path(self.directory, "ssh_known_hosts")
        names = [known_as(address, self.port) for address in self.addresses]
        path.write_text(f"{','.join(names)} {self.host_key}\n", encoding="utf-8")
        return path

    def remote_command(self) -> str:
        """What prints the log from now on."""
        return f"docker logs --timestamps --follow {self.container}"


def known_as(address: str, port: int) -> str:
    """The name of a host in known_hosts."""
    return address if port == _SSH_PORT else f"[{address}]:{port}"


def slice_name(number: int) -> str:
    """The slice of a host: eight hosts each."""
    return f"bench-{number // 8:04}"


def host_name(number: int) -> str:
    """The name of a host."""
    return f"{slice_name(number)}-w{number % 8}"


def wait_for_start() -> Task:
    """Say that all is imported, wait for the line that starts the work, and return the task."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # nothing outlives the benchmark
    task = Task(**json.loads(sys.argv[1]))
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    _say("imported")
    sys.stdin.readline()
    return task


def wait_for_stop() -> None:
    """Block until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    signal.sigwait({signal.SIGTERM})


def say_stopped() -> None:
    """Say that everything has stopped."""
    _say("stopped")


def _say(word: str) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()
