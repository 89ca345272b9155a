"""`python -m tests.benchmarks.landing_rate [LINES]`: how landing keeps up with the engine, beside curl on the same host.

A container has written 1,000,000 lines (or so many). Its log is read three times by `curl --unix-socket` on the host and landed three times
through iris's SSH shell, in turns: lines per second, and the ratio of the best. Needs the lab (docs/lab.md).

Twice: with the engine held to half a core, so that it is the ceiling for both; and with all that the machine has. There the cores of one
machine are shared by the engine (5 s of CPU for a million lines), `docker system dial-stdio` (3 s), sshd (1.5 s) and iris (4 s), while curl
takes none worth mentioning: that says what a host and iris cost together, not what a host of its own would serve.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from iris_adapters.ssh import FabricShell
from iris_adapters.system_clock import SystemClock
from iris_core.config import SshConfig
from iris_core.log_file import LandedFile
from iris_core.log_pump import LogPump
from iris_core.model import Host as IrisHost
from iris_core.model import HostRole
from tests.lab.addresses import AddressPool
from tests.lab.host import Host
from tests.lab.images import IMAGE
from tests.lab.requirements import explain, missing_for_hosts
from tests.lab.watchdog import Watchdog
from tests.support.sshd import make_key

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROUNDS: Final = 3
_FEW_CORES: Final = 0.5
_PERIOD: Final = 20_000  # of the scheduler's quota, in microseconds: short, for a steady rate
_LINE: Final = "a line of a log like any other: some eighty bytes long, no more and no less"


class Rates(NamedTuple):
    """Lines per second, round by round."""

    curl: list[float]
    iris: list[float]

    @property
    def ratio(self) -> float:
        """The best of iris by the best of curl."""
        return max(self.iris) / max(self.curl)


def measure(lines: int, rounds: int = _ROUNDS, engine_cores: float | None = None) -> Rates:
    """Boot a host, have a container write, and read its log both ways; with the engine held to so many cores, if any are given."""
    directory = Path(tempfile.mkdtemp(prefix="iris-rate-"))
    cgroup = f"/iris-rate-{os.getpid()}"
    with ExitStack() as stack:
        stack.callback(Watchdog(directory, cgroup).close)
        addresses = AddressPool(22)
        stack.callback(addresses.close)
        host = Host(directory / "host", "rate", addresses.take(), port=22, cgroup=cgroup)
        stack.callback(host.kill)
        key = directory / "key"
        host.authorize([f"root:{make_key(key)}"])
        host.boot()
        script = f'BEGIN {{ for (i = 0; i < {lines}; i++) print i, "{_LINE}" }}'
        host.docker("run", "--network=none", "--name=writer", IMAGE, "awk", script)  # to its end
        if engine_cores is not None:
            [engine] = [process.pid for process in host.processes() if process.command == "dockerd"]
            stack.enter_context(_held_to(engine_cores, engine, cgroup))
        config = SshConfig(user="root", key_file=str(key), known_hosts_file=str(directory / "known_hosts"))
        shell = FabricShell(config, SystemClock(), lambda _host: [f"ssh-ed25519 {host.host_key}"])
        stack.callback(shell.close)
        rates = Rates([], [])
        for number in range(rounds):
            rates.curl.append(lines / _by_curl(host, lines))
            rates.iris.append(lines / _by_iris(host, shell, directory / f"{number}.txt", lines))
        return rates


@contextmanager
def _held_to(cores: float, pid: int, cgroup: str) -> Iterator[None]:
    """A control group of the process's own, of either version of cgroups."""
    root = Path("/sys/fs/cgroup")
    old = (root / "cpu").is_dir()
    group = Path(f"{root / 'cpu' if old else root}{cgroup}-engine")
    group.mkdir()
    quota = int(cores * _PERIOD)
    if old:
        (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(quota))
    else:
        (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
    (group / "cgroup.procs").write_text(str(pid))
    try:
        yield
    finally:
        (group.parent / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def _by_curl(host: Host, lines: int) -> float:
    url = "http://docker/containers/writer/logs?stdout=1&stderr=1&timestamps=1"
    began = time.perf_counter()
    quiet = ("--silent", "--fail", "--output", "/dev/null", "--write-out", "%{size_download}")
    done = subprocess.run(["curl", *quiet, "--unix-socket", host.engine_socket, url], check=True, capture_output=True)
    seconds = time.perf_counter() - began
    assert int(done.stdout) > lines * len(_LINE)
    return seconds


def _by_iris(host: Host, shell: FabricShell, path: Path, lines: int) -> float:
    clock = SystemClock()
    pump = LogPump(shell, clock, lambda _event: None)
    there = IrisHost(name="rate", role=HostRole.CONTROLLER, address=host.address)
    began = time.perf_counter()
    slot = pump.add("rate", there, "writer", LandedFile(path), use_sudo=False)
    while slot.lines_landed < lines:
        clock.wait(pump.wake, pump.step())
    seconds = time.perf_counter() - began
    pump.drain([slot], 10.0)
    pump.run_until_done()
    with path.open("rb") as file:
        assert sum(1 for _ in file) == lines
    path.unlink()
    return seconds


def main() -> int:
    """Measure, and say what came of it."""
    if missing := missing_for_hosts():
        sys.stderr.write(f"{explain(missing)}\n")
        return 1
    lines = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    for cores in (_FEW_CORES, None):
        rates = measure(lines, engine_cores=cores)
        sys.stdout.write(f"the engine with {cores or 'all'} of {os.cpu_count()} cores:\n")
        for name, values in rates._asdict().items():
            sys.stdout.write(f"  {name}: {', '.join(f'{value:,.0f}' for value in values)} lines/s\n")
        sys.stdout.write(f"  iris lands at {rates.ratio:.2f} of curl's rate\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
