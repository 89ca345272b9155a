"""What it costs to open one stream: iris beside the specification's way, `gcloud compute ssh … docker logs --follow`. Needs the lab."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import closing
from typing import TYPE_CHECKING, Final, NamedTuple

from tests.benchmarks.clients import Task
from tests.benchmarks.landed import Landings
from tests.benchmarks.processes import cpu_seconds, usage
from tests.benchmarks.results import CaseResult, Table, Target
from tests.benchmarks.streams import Client
from tests.lab.images import IMAGE
from tests.lab.lab import Lab

if TYPE_CHECKING:
    from pathlib import Path

_STREAMS: Final = 24
_GCLOUD_ROUNDS: Final = 3
_ROUNDS: Final = (
    7  # of the others: 24 streams take a sixth of a second of CPU, and from 6 to 11 ms each from round to round
)
_CLIENTS: Final = ("ssh", "asyncssh", "iris")
_PATIENCE_SECONDS: Final = 60.0
_CONTAINER: Final = "iris-worker"
_WRITER: Final = "while :; do echo a line; sleep 0.2; done"
_TEXT: Final = f"""\
One real host with sshd and Docker, a container that writes five lines a second. Each way opens its streams until every one has
landed a line: the real gcloud once at a time (the mean of {_GCLOUD_ROUNDS}, after one that made its keys), `ssh`, asyncssh and
iris {_STREAMS} at once, each stream a connection of its own, in turns: the middle one of {_ROUNDS} rounds (the least and the
most in brackets). CPU is that of the landing side only: the process and its children. gcloud talks to a pretended API on
loopback, so that what it waits for is less than with Google's."""


class _Opened(NamedTuple):
    cpu_ms: float
    seconds: float
    memory_mb: float


def run(directory: Path) -> CaseResult:
    """Measure it: about a minute."""
    with Lab() as lab:
        key = lab.ssh_key()
        lab.add_instance("vm")
        host = lab.host("vm")
        host.docker("run", "--detach", "--network=none", f"--name={_CONTAINER}", IMAGE, "sh", "-c", _WRITER)
        _by_gcloud(lab, directory)
        gclouds = [_by_gcloud(lab, directory) for _ in range(_GCLOUD_ROUNDS)]
        gcloud = _Opened(*(sum(values) / _GCLOUD_ROUNDS for values in zip(*gclouds, strict=True)))
        opened = {"gcloud compute ssh": gcloud}
        rounds: dict[str, list[_Opened]] = {client: [] for client in _CLIENTS}
        for number in range(_ROUNDS):
            for client, those in rounds.items():
                place = directory / f"{client}-{number}"
                (place / "workers").mkdir(parents=True)
                task = Task(
                    directory=str(place),
                    addresses=[host.address] * _STREAMS,
                    port=host.port,
                    user="root",
                    key_file=str(key),
                    host_key=f"ssh-ed25519 {host.host_key}",
                    container=_CONTAINER,
                )
                those.append(_by_client(client, task, place))
    spread = {}
    for client, those in rounds.items():
        those.sort()
        opened[client] = those[_ROUNDS // 2]
        spread[client] = f" ({those[0].cpu_ms:.1f} to {those[-1].cpu_ms:.1f})"
    rows = [
        [
            name,
            f"{one.cpu_ms:,.1f}{spread.get(name, '')}",
            f"{one.seconds:.2f}",
            f"{one.memory_mb:,.1f}",
        ]
        for name, one in opened.items()
    ]
    return CaseResult(
        title="Opening one stream",
        text=_TEXT,
        tables=[
            Table(
                [
                    "way",
                    "CPU, ms a stream",
                    "all open after, s",
                    "memory, MB a stream (PSS)",
                ],
                rows,
            )
        ],
        targets=[
            Target(
                "opening a stream takes at most 8 ms of CPU (the specification's way, in the same run: "
                f"{gcloud.cpu_ms:,.0f} ms)",
                f"{opened['iris'].cpu_ms:.1f} ms",
                opened["iris"].cpu_ms <= 8,
            )
        ],
        ratios={
            f"CPU of a stream, {name}": one.cpu_ms / opened["iris"].cpu_ms
            for name, one in opened.items()
            if name != "iris"
        },
    )


def _by_gcloud(lab: Lab, directory: Path) -> _Opened:
    path = directory / "gcloud.txt"
    argv = ["gcloud", "compute", "ssh", "root@vm", f"--command=docker logs --timestamps --follow {_CONTAINER}"]
    began = time.monotonic()
    with path.open("wb") as file:
        process = subprocess.Popen(
            argv, env=lab.environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL
        )
    try:
        while not path.stat().st_size:
            if time.monotonic() - began > _PATIENCE_SECONDS or process.poll() is not None:
                raise RuntimeError("gcloud compute ssh opened no stream")
            time.sleep(0.01)
        return _Opened(cpu_seconds(process.pid) * 1000, time.monotonic() - began, usage(process.pid).pss_mb)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(_PATIENCE_SECONDS)


def _by_client(client: str, task: Task, place: Path) -> _Opened:
    count = len(task.addresses)
    with closing(Landings(place / "workers")) as landings, Client(client, task) as running:
        cpu, memory, began = cpu_seconds(running.pid), usage(running.pid).pss_mb, time.monotonic()
        running.begin()
        landings.wait_for(count, _PATIENCE_SECONDS)
        spent = cpu_seconds(running.pid) - cpu
        more = usage(running.pid).pss_mb - memory
        running.stop()
    return _Opened(spent / count * 1000, landings.first_lines_after(began)[-1], more / count)
