"""A host with a real Docker engine and a real sshd, whose containers' logs are read in several ways. Needs the lab (docs/lab.md)."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.benchmarks.bulk import run_bulk
from tests.benchmarks.clients.bulk import BulkFigures, BulkTask
from tests.lab.addresses import AddressPool
from tests.lab.host import Host
from tests.lab.images import IMAGE
from tests.lab.watchdog import Watchdog
from tests.support.sshd import make_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

_PERIOD: Final = 20_000  # of the scheduler's quota, in microseconds: short, for a steady rate
_WORDS: Final = "a line of a log like any other: some eighty bytes long, no more and no less"
_GO: Final = "/go"
_MAY_ROTATE: Final = ("--log-opt=max-size=10g", "--log-opt=max-file=2")


class EngineHost:
    """One such host; a context manager.

    Args:
        directory: an empty one.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __enter__(self) -> Self:
        self._cgroup = f"/iris-bench-{os.getpid()}"
        with ExitStack() as stack:
            stack.callback(Watchdog(self._directory / "host", self._cgroup).close)
            addresses = AddressPool(22)
            stack.callback(addresses.close)
            self._host = Host(self._directory / "host", "bench", addresses.take(), port=22, cgroup=self._cgroup)
            stack.callback(self._host.kill)
            self._key = self._directory / "key"
            self._host.authorize([f"root:{make_key(self._key)}"])
            self._host.boot()
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def write(self, *containers: str, lines: int, words: str = _WORDS, rotates: bool = False) -> None:
        """Have new containers write so many lines each, and return when they have ended.

        Args:
            containers: their names.
            lines: of each.
            words: of each line, after its number.
            rotates: whether their logs have a `max-size`, one that they do not reach: iris then reads the engine's API alone.
        """
        for container in containers:
            self._run_writer(container, _writing(0, lines, words), *(_MAY_ROTATE if rotates else ()))
        self._host.docker("wait", *containers)

    def write_in_two_parts(self, container: str, first: int, rest: int, words: str) -> None:
        """Have a new container write the first part of its log. It waits then for `write_rest`."""
        waiting = f"while [ ! -e {_GO} ]; do usleep 50000; done"
        self._run_writer(container, f"{_writing(0, first, words)}; {waiting}; {_writing(first, first + rest, words)}")

    def write_rest(self, container: str) -> None:
        """Have it write the second part, and return when it has ended."""
        self._host.docker("exec", container, "touch", _GO)
        self._host.docker("wait", container)

    def remove(self, *containers: str) -> None:
        """Remove containers that have ended, and their logs."""
        self._host.docker("rm", *containers)

    def by_curl(self, *containers: str) -> BulkFigures:
        """Read the logs on the host itself, over the engine's socket, all at once."""
        began = time.monotonic()
        processes = []
        for container in containers:
            url = f"http://docker/containers/{container}/logs?stdout=1&stderr=1&timestamps=1"
            argv = [
                "curl",
                "--silent",
                "--fail",
                "--output",
                "/dev/null",
                "--unix-socket",
                self._host.engine_socket,
                url,
            ]
            processes.append(subprocess.Popen(argv))
        ends = []
        for process in processes:
            if process.wait():
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}")
            ends.append(time.monotonic() - began)
        return BulkFigures(ends[-1], 0.0, 0.0, ends)

    def by(self, way: str, *containers: str, lines: int, directory: Path | None = None) -> BulkFigures:
        """Land the logs through sshd in one of the ways of `clients.bulk`, all at once, and see that every line came.

        Args:
            way: which.
            containers: whose logs.
            lines: how many are to be landed of each.
            directory: where; None: in one of its own, which is removed.

        Raises:
            RuntimeError: something else came.
        """
        if directory is None:
            with tempfile.TemporaryDirectory(dir=self._directory) as made:
                figures = self.by(way, *containers, lines=lines, directory=Path(made))
                for number in range(len(containers)):
                    with Path(made, str(number)).open("rb") as file:
                        landed = sum(1 for _ in file)
                    if landed != lines:
                        raise RuntimeError(f"{way}: {landed} lines of {lines} landed")
                return figures
        return run_bulk(way, self.task(*containers, lines=lines, directory=directory))

    def task(self, *containers: str, lines: int, directory: Path) -> BulkTask:
        """What `by` has done."""
        return BulkTask(
            address=self._host.address,
            port=22,
            user="root",
            key_file=str(self._key),
            host_key=f"ssh-ed25519 {self._host.host_key}",
            argv=[["docker", "logs", "--timestamps", container] for container in containers],
            containers=list(containers),
            lines=lines,
            directory=str(directory),
        )

    @contextmanager
    def engine_held_to(self, cores: float) -> Iterator[None]:
        """Give the engine no more than so many cores: a control group of its own, of either version of cgroups."""
        [engine] = [process.pid for process in self._host.processes() if process.command == "dockerd"]
        root = Path("/sys/fs/cgroup")
        old = (root / "cpu").is_dir()
        group = Path(f"{root / 'cpu' if old else root}{self._cgroup}-engine")
        group.mkdir()
        quota = int(cores * _PERIOD)
        if old:
            (group / "cpu.cfs_period_us").write_text(str(_PERIOD))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        else:
            (group / "cpu.max").write_text(f"{quota} {_PERIOD}")
        (group / "cgroup.procs").write_text(str(engine))
        try:
            yield
        finally:
            (group.parent / "cgroup.procs").write_text(str(engine))
            group.rmdir()

    def _run_writer(self, container: str, script: str, *options: str) -> None:
        self._host.docker(
            "run", "--detach", "--network=none", f"--name={container}", *options, IMAGE, "sh", "-c", script
        )


def _writing(first: int, end: int, words: str) -> str:
    return f"""awk 'BEGIN {{ for (i = {first}; i < {end}; i++) print i, "{words}" }}'"""
