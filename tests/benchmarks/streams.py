"""Many quiet streams, measured: the far side, a client that lands them, and what that costs it.

`python -m tests.benchmarks.streams CLIENT STREAMS SECONDS [--may-rotate]` prints the figures of one such measurement.
"""

from __future__ import annotations

import argparse
import getpass
import itertools
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.benchmarks import far_side
from tests.benchmarks.clients import Task
from tests.benchmarks.landed import Landings, Latencies
from tests.benchmarks.processes import Usage, cpu_seconds, usage
from tests.support.sshd import make_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

_START_SECONDS: Final = 30.0
_CONNECT_SECONDS: Final = 60.0
_CONNECT_BESIDE_OTHERS_SECONDS: Final = 120.0  # where connecting is not what is measured
_STOP_SECONDS: Final = 60.0
_SETTLE_SECONDS: Final = 5.0
_LATE_SECONDS: Final = 1.0  # what a line may take to land when all is stopped
_LINE: Final = re.compile(rb"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)\S* .*?line (\d+) ", re.MULTILINE)


class StreamFigures(NamedTuple):
    """What N streams cost the process (and its descendants) that lands them.

    Attributes:
        client: which.
        streams: how many.
        connect_seconds: from the start until every file has a line.
        cpu_ms_to_open: CPU in that time, per stream.
        cpu_percent: of one core, while they are open.
        usage: memory, threads, descriptors, while they are open.
        latencies: from printed to landed, while they are open.
        stop_seconds: from SIGTERM until everything has stopped.
        lost: how many lines are missing in the landed files, or doubled, or out of order; the first that a container wrote counts only
            for iris, for the others begin with what comes.
    """

    client: str
    streams: int
    connect_seconds: float
    cpu_ms_to_open: float
    cpu_percent: float
    usage: Usage
    latencies: Latencies
    stop_seconds: float
    lost: int


class FarSide:
    """The pretended hosts; a context manager.

    Args:
        directory: an empty one, for keys.
        hosts: how many.
        rotates: whether their logs may rotate.
        lines_per_second: of each.
    """

    def __init__(self, directory: Path, hosts: int, *, rotates: bool = False, lines_per_second: float = 1.0) -> None:
        self.directory = directory
        host_key = make_key(directory / "host_key")
        make_key(directory / "user_key", "rsa")  # what gcloud makes, and iris uses
        self._host_key = " ".join(host_key.split()[:2])
        self._settings = far_side.Settings(
            hosts=hosts,
            port=_free_port(),
            host_key=str(directory / "host_key"),
            user_keys=str(directory / "user_key.pub"),
            rotates=rotates,
            lines_per_second=lines_per_second,
        )

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.far_side", self._settings.as_argument()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline() != b"listening\n":
            raise RuntimeError("the far side did not start")
        self.tell("lines")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def tell(self, command: str) -> None:
        """Have it do something; see `far_side`."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{command}\n".encode())
        self._process.stdin.flush()

    def task(self, directory: Path, *, watches_labels: bool = True) -> Task:
        """The landing of all hosts in a new directory."""
        (directory / "workers").mkdir(parents=True)
        return Task(
            directory=str(directory),
            addresses=[far_side.address_of(number) for number in range(self._settings.hosts)],
            port=self._settings.port,
            user=getpass.getuser(),
            key_file=str(self.directory / "user_key"),
            host_key=self._host_key,
            container=far_side.CONTAINER,
            watches_labels=watches_labels,
        )


class Client:
    """A program of `tests.benchmarks.clients` that runs; a context manager.

    Args:
        name: of its module, without `_client`.
        task: what it is to do.

    Attributes:
        pid: its process id.
    """

    def __init__(self, name: str, task: Task) -> None:
        self.name = name
        self._task = task

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"tests.benchmarks.clients.{self.name}_client", self._task.as_argument()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self.pid = self._process.pid
        self._await("imported")
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()

    def begin(self) -> None:
        """Let it work."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")
        self._process.stdin.flush()

    def stop(self) -> float:
        """Have it stop everything; how many seconds that took."""
        began = time.monotonic()
        self._process.send_signal(signal.SIGTERM)
        self._await("stopped")
        seconds = time.monotonic() - began
        self._process.wait(_STOP_SECONDS)
        return seconds

    def _await(self, word: str) -> None:
        assert self._process.stdout is not None
        timer = threading.Timer(_STOP_SECONDS, self._process.kill)
        timer.start()
        try:
            if self._process.stdout.readline() != f"{word}\n".encode():
                raise RuntimeError(f"the client {self.name} ended before it was {word}, or took too long")
        finally:
            timer.cancel()


@contextmanager
def landing_quiet_streams(streams: int, directory: Path, *, rotates: bool = False) -> Iterator[Client]:
    """A client, iris, that lands so many quiet streams: all of them connected, and stopped in order at the end.

    Args:
        streams: how many hosts, each with one container that writes a line a second.
        directory: an empty one.
        rotates: whether the containers' logs may rotate.

    Raises:
        TimeoutError: they did not connect.
    """
    with FarSide(directory, streams, rotates=rotates) as far:
        task = far.task(directory / "landed")
        with closing(Landings(directory / "landed" / "workers")) as landings, Client("iris", task) as running:
            running.begin()
            landings.wait_for(streams, _CONNECT_BESIDE_OTHERS_SECONDS)
            yield running
            running.stop()


def measure_streams(
    client: str,
    streams: int,
    directory: Path,
    *,
    seconds: float,
    rotates: bool = False,
    lines_per_second: float = 1.0,
    watches_labels: bool = True,
    flap: str = "",
) -> StreamFigures:
    """Land so many streams with a client, for so many seconds once all are connected.

    Args:
        client: its name.
        streams: how many hosts, each with one container.
        directory: an empty one.
        seconds: how long it is measured.
        rotates: whether the containers' logs may rotate: a capture must then not trust a follow.
        lines_per_second: of each container.
        watches_labels: see `Task`.
        flap: what the far side is told once all are connected; see `far_side`.

    Raises:
        TimeoutError: they did not connect.
    """
    with ExitStack() as stack:
        far = stack.enter_context(FarSide(directory, streams, rotates=rotates, lines_per_second=lines_per_second))
        task = far.task(directory / "landed", watches_labels=watches_labels)
        landings = Landings(directory / "landed" / "workers")
        stack.callback(landings.close)
        running = stack.enter_context(Client(client, task))
        cpu, began = cpu_seconds(running.pid), time.monotonic()
        running.begin()
        landings.wait_for(streams, _CONNECT_SECONDS)
        connect_seconds = landings.first_lines_after(began)[-1]
        cpu_to_open = cpu_seconds(running.pid) - cpu
        if flap:
            far.tell(flap)
        time.sleep(_SETTLE_SECONDS)
        landings.take()
        cpu, began = cpu_seconds(running.pid), time.monotonic()
        time.sleep(seconds)
        cpu_percent = (cpu_seconds(running.pid) - cpu) / (time.monotonic() - began) * 100
        latencies = landings.take()
        used = usage(running.pid)
        stopped_at = time.time()
        stop_seconds = running.stop()
        return StreamFigures(
            client=client,
            streams=streams,
            connect_seconds=connect_seconds,
            cpu_ms_to_open=cpu_to_open / streams * 1000,
            cpu_percent=cpu_percent,
            usage=used,
            latencies=latencies,
            stop_seconds=stop_seconds,
            lost=sum(
                lines_lost(
                    task.path(number).read_bytes(),
                    from_first=client == "iris",
                    until=stopped_at - 1 / lines_per_second - _LATE_SECONDS,
                )
                for number in range(streams)
            ),
        )


def lines_lost(landed: bytes, *, from_first: bool, until: float) -> int:
    """How many lines are missing in a landed file, or there too often.

    Args:
        landed: the file.
        from_first: whether the first that was written must be there.
        until: no earlier than this the last one was written, in seconds since 1970.
    """
    lines = [(int(number), stamp) for stamp, number in _LINE.findall(landed)]
    if not lines:
        return 1
    numbers = [number for number, _ in lines]
    if from_first:
        numbers.insert(0, 0)
    lost = sum(abs(after - before - 1) for before, after in itertools.pairwise(numbers))
    ended_early = datetime.fromisoformat(f"{lines[-1][1].decode()}+00:00").timestamp() + 1 < until
    return lost + ended_early


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("", 0))
        port: int = probe.getsockname()[1]
        return port


def main() -> None:
    """Measure once, and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.streams")
    parser.add_argument("client", help="iris, asyncssh, ssh or fabric")
    parser.add_argument("streams", type=int)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--may-rotate", action="store_true", help="the containers' logs have a max-size")
    parser.add_argument("--lines-per-second", type=float, default=1.0, help="of each container (default: 1)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="iris-streams-") as directory:
        figures = measure_streams(
            arguments.client,
            arguments.streams,
            Path(directory),
            seconds=arguments.seconds,
            rotates=arguments.may_rotate,
            lines_per_second=arguments.lines_per_second,
        )
    for name, value in figures._asdict().items():
        sys.stdout.write(f"{name:16} {value}\n")


if __name__ == "__main__":
    main()
