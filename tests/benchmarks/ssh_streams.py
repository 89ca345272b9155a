"""What streams over SSH cost: `uv run python -m tests.benchmarks.ssh_streams [streams]`. Needs sshd; everything on loopback.

Prints client CPU for opening, MiB/s of one large stream, CPU of N quiet streams, threads, memory, and the time to close.
"""

from __future__ import annotations

import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.config import SshConfig
from iris_core.model import Host, HostRole
from tests.support.sshd import Sshd

if TYPE_CHECKING:
    from iris_core.errors import RemoteShellError

_GIB = 1 << 30
_QUIET_SECONDS = 15.0


class Counter:
    """Implements `ProcessListener`: counts."""

    def __init__(self) -> None:
        self.received = 0
        self.first = threading.Event()
        self.ended = threading.Event()

    def on_stdout(self, data: bytes) -> None:
        """See `ProcessListener`."""
        self.received += len(data)
        self.first.set()

    def on_stderr(self, data: bytes) -> None:
        """See `ProcessListener`."""

    def on_exit(self, status: int) -> None:  # noqa: ARG002 - the port's signature
        """See `ProcessListener`."""
        self.ended.set()

    def on_error(self, error: RemoteShellError) -> None:
        """See `ProcessListener`."""
        print(error)  # noqa: T201 - this is a program
        self.first.set()
        self.ended.set()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _resident_kib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def _say(what: str, figure: float, unit: str) -> None:
    print(f"{what:<46}{figure:>10.1f} {unit}")  # noqa: T201 - this is a program


def _host(number: int) -> Host:
    name = f"w{number}"
    return Host(name=name, role=HostRole.WORKER, address="127.0.0.1", instance_id=name, worker_index=0)


def main(streams: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory, Sshd(Path(directory)) as sshd:
        config = SshConfig(
            user=sshd.user,
            key_file=str(sshd.user_key),
            port=sshd.port,
            known_hosts_file=str(Path(directory, "known_hosts")),
            connect_timeout_seconds=60,
        )
        shell = FabricShell(config, SystemClock(), lambda _host: [sshd.host_key_line])
        shell.run(_host(-1), ["true"], timeout_seconds=60)

        counter = Counter()
        cpu, began = _cpu(), time.monotonic()
        shell.start(_host(-1), ["head", "-c", str(_GIB), "/dev/zero"], counter)
        counter.ended.wait()
        _say("one stream", counter.received / (1 << 20) / (time.monotonic() - began), "MiB/s")
        _say("one stream, client CPU", (_cpu() - cpu) / counter.received * _GIB, "s/GiB")

        counters = [Counter() for _ in range(8)]
        cpu = _cpu()
        processes = [shell.start(_host(-2 - index // 8), ["cat"], each) for index, each in enumerate(counters)]
        for process, each in zip(processes, counters, strict=True):
            process.write(b"x")
            each.first.wait()
        _say("8 streams of one new connection, CPU each", (_cpu() - cpu) / 8 * 1000, "ms")

        counters = [Counter() for _ in range(streams)]
        cpu, began, memory, threads = _cpu(), time.monotonic(), _resident_kib(), threading.active_count()
        command = ["sh", "-c", 'while :; do printf "%0119d\\n" 1; sleep 1; done']
        for number, each in enumerate(counters):
            shell.start(_host(number), command, each)
        for each in counters:
            each.first.wait()
        _say(f"{streams} streams, each its own host, CPU each", (_cpu() - cpu) / streams * 1000, "ms")
        _say(f"{streams} streams open after", time.monotonic() - began, "s")
        _say("memory per stream", (_resident_kib() - memory) / streams, "KiB")
        _say("threads per stream", (threading.active_count() - threads) / streams, "")
        cpu, began = _cpu(), time.monotonic()
        threading.Event().wait(_QUIET_SECONDS)
        _say("client CPU at a line per second each", (_cpu() - cpu) / (time.monotonic() - began) * 100, "% of a core")

        began = time.monotonic()
        shell.close()
        _say("close", time.monotonic() - began, "s")
        _say("threads left", threading.active_count() - 1, "")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 50)
