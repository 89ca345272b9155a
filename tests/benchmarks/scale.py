"""`python -m tests.benchmarks.scale [HOSTS] [HOURS]`: a day of preemptions in fake time, and what is bounded in it.

The real capture and discovery (`open_log_streaming`, its two threads) over the fakes of the three ports: a cluster of slices of eight
hosts, each slice preempted after some hours and replaced by another, and connections that are lost without cause. Landed files are real.

A quiet stream is checked once an hour here instead of every few minutes: at 10,000 hosts and 24 hours those checks would be millions of
looks at the fakes' engine, and they change nothing that is counted.
"""

from __future__ import annotations

import heapq
import json
import logging
import random
import resource
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from iris_adapters.fakes import (
    FakeClock,
    FakeDockerEngine,
    FakeInventory,
    FakeShell,
    StartScript,
    make_controller,
    make_slice,
)
from iris_core import log_reading
from iris_core.config import ClusterConfig, GcpConfig, LogConfig, Mode
from iris_core.errors import ConnectionLostError
from iris_core.log_streaming import open_log_streaming
from iris_core.model import VmPhase
from tests.benchmarks.processes import memory_mb

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path as PathType

    from iris_adapters.fakes import FakeProcess
    from iris_adapters.fakes.remote_shell import ProcessHandler
    from iris_core.model import Host, Slice
    from iris_core.ports.remote_shell import ProcessListener

_HOSTS_OF_A_SLICE: Final = 8
_STEP_SECONDS: Final = 10.0
_LIFE_HOURS: Final = 8.0  # of a slice, on average, before it is preempted
_GONE_SECONDS: Final = 60.0  # from its preemption until it is no longer listed
_AGAIN_SECONDS: Final = 300.0  # until another one is there in its place
_DROPS_PER_HOST_AND_DAY: Final = 2.0
_HOUR: Final = 3600.0
_DESCRIPTORS_BESIDES: Final = 200
_TRIES_OF_A_LOST_HOST: Final = 8  # before the cloud says that it is gone: at once, then after 1, 2, 4, 8, 16, 30 s
_MOST_GROWTH_MB: Final = 10.0
_KB_OF_A_LIFE: Final = 1.0  # its name, in what was discovered
_KEPT: Final = Path(".benchmarks/scale.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleFigures:
    """What came of it.

    Attributes:
        hosts, hours: of what.
        preempted_hosts: how many lives of hosts ended.
        drops: how many connections were lost without cause.
        connects: how many times a channel to a host was asked for, also where none was to be had.
        most_connects_of_a_host: in its whole life.
        inventory_calls: by method.
        most_threads: besides the one that plays the cloud.
        memory_mb: of the process after each hour, the fakes' own included.
        landed_hosts: how many hosts have a landed line.
        seconds: of real time.
    """

    hosts: int
    hours: float
    preempted_hosts: int
    drops: int
    connects: int
    most_connects_of_a_host: int
    inventory_calls: dict[str, int]
    most_threads: int
    memory_mb: list[float]
    landed_hosts: int
    seconds: float

    @property
    def growth_mb(self) -> float:
        """From the first third of the time to its end."""
        return self.memory_mb[-1] - self.memory_mb[len(self.memory_mb) // 3]


class _CountingShell(FakeShell):
    """Counts each channel that is asked for, and hands those that it opens to whoever plays the far side.

    Attributes:
        connects: how many were asked for.
        most_connects: to one host, of those that were forgotten.
    """

    def __init__(self, handler: ProcessHandler) -> None:
        super().__init__(starts=[StartScript(handler=handler)])
        self.connects = self.most_connects = 0
        self._by_host: Counter[str] = Counter()

    def start(self, host: Host, argv: Sequence[str], listener: ProcessListener) -> FakeProcess:
        """See `RemoteShell`."""
        self.connects += 1
        self._by_host[host.name] += 1
        return super().start(host, argv, listener)

    def forget(self, host: str) -> None:
        """The host is no more, and nobody asks for it again."""
        self.heal_host(host)
        self.most_connects = max(self.most_connects, self._by_host.pop(host, 0))

    def forget_all(self) -> None:
        """Of the hosts that are still there, too."""
        for host in list(self._by_host):
            self.forget(host)


class Cloud:
    """Slices that come, are preempted and come again, by a seed.

    Args:
        hosts: how many there are as a rule.
        seed: of all that is random.
    """

    def __init__(self, hosts: int, seed: int) -> None:
        self.clock = FakeClock()
        self.engine = FakeDockerEngine()
        self.engine.create("iris-controller").write(b"hello\n")
        self.engine.create("iris-worker").write(b"hello\n")
        self.shell = _CountingShell(self._serve)
        self._channels: dict[str, FakeProcess] = {}  # by host: one each
        self.inventory = FakeInventory(controller=make_controller())
        self.preempted_hosts = self.drops = self.calls = 0
        self.inventory_calls: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._made = 0
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._slices: dict[str, Slice] = {}
        for _ in range(hosts // _HOSTS_OF_A_SLICE):
            self._create()
        self._mean_drop_seconds = 24 * _HOUR / _DROPS_PER_HOST_AND_DAY / hosts
        self._plan(self._random.expovariate(1 / self._mean_drop_seconds), self._drop)

    def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass, and what is planned in them."""
        self.clock.wait_until_waiting(2, timeout_seconds=120)
        now = self.clock.monotonic()
        while self._plans and self._plans[0][0] <= now:
            heapq.heappop(self._plans)[2]()
        self.clock.advance(seconds)

    def count(self) -> None:
        """Take what the fakes remember into the counts, so that they need not remember it."""
        self.shell.started[:] = self.shell.running()
        self.inventory_calls.update(call.method for call in self.inventory.calls)
        self.inventory.calls.clear()
        self.engine.requests.clear()

    def _serve(self, process: FakeProcess) -> None:
        self._channels[process.host.name] = process
        self.engine.serve(process)

    def _lose_channel(self, host: str) -> None:
        process = self._channels.pop(host, None)
        if process is not None:
            process.fail(ConnectionLostError(f"{host}: lost", host=host))

    def _plan(self, seconds: float, action: Callable[[], None]) -> None:
        self._made += 1
        heapq.heappush(self._plans, (self.clock.monotonic() + seconds, self._made, action))

    def _create(self) -> None:
        self._made += 1
        made = make_slice(f"iris-tpu-{self._made:08}", hosts=_HOSTS_OF_A_SLICE, group="tpu")
        self._slices[made.name] = made
        self.inventory.put_slice(made)
        self._plan(self._random.expovariate(1 / (_LIFE_HOURS * _HOUR)), lambda: self._preempt(made))

    def _preempt(self, one: Slice) -> None:
        del self._slices[one.name]
        self.inventory.set_phase(one.name, VmPhase.FAILED)
        for host in one.hosts:
            self.preempted_hosts += 1
            self.shell.break_host(host.name)
            self._lose_channel(host.name)

        def replace() -> (
            None
        ):  # not before: a channel that is opened once more to a host that is gone would be kept for ever
            for host in one.hosts:
                self.shell.forget(host.name)
            self._create()

        self._plan(_GONE_SECONDS, lambda: self.inventory.remove_slice(one.name))
        self._plan(_AGAIN_SECONDS, replace)

    def _drop(self) -> None:
        self.drops += 1
        one = self._slices[self._random.choice(list(self._slices))]
        self._lose_channel(self._random.choice(one.hosts).name)
        self._plan(self._random.expovariate(1 / self._mean_drop_seconds), self._drop)


def simulate(hosts: int, hours: float, directory: PathType, seed: int = 1) -> ScaleFigures:
    """Let that many hours pass for that many hosts, and land their logs in an empty directory."""
    began = time.monotonic()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < hosts + _DESCRIPTORS_BESIDES:
        raise RuntimeError(f"{hosts} landed files need as many descriptors, and {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    silence = log_reading._FIRST_SILENCE, log_reading._MOST_SILENCE
    cloud = Cloud(hosts, seed)
    threads_before, most_threads = threading.active_count(), 0
    memory = []
    config = ClusterConfig(
        mode=Mode.GCP,
        gcp=GcpConfig(project_id="project", zone="us-central1-a"),
        logs=LogConfig(use_sudo=False, container_label=None),
    )
    setattr(log_reading, "_FIRST_SILENCE", _HOUR)  # noqa: B010 - see the module's docstring
    setattr(log_reading, "_MOST_SILENCE", _HOUR)  # noqa: B010
    try:
        handle = open_log_streaming(
            config=config,
            shell=cloud.shell,
            inventory=cloud.inventory,
            clock=cloud.clock,
            output_dir=directory,
            controller_container="iris-controller",
            worker_container="iris-worker",
        )
        for _ in range(round(hours)):
            for _ in range(round(_HOUR / _STEP_SECONDS)):
                cloud.pass_time(_STEP_SECONDS)
                most_threads = max(most_threads, threading.active_count() - threads_before)
            cloud.clock.wait_until_waiting(2, timeout_seconds=120)
            cloud.count()
            memory.append(memory_mb())
        _stop(handle.stop, cloud.clock)
    finally:
        setattr(log_reading, "_FIRST_SILENCE", silence[0])  # noqa: B010
        setattr(log_reading, "_MOST_SILENCE", silence[1])  # noqa: B010
    cloud.count()
    cloud.shell.forget_all()
    return ScaleFigures(
        hosts=hosts,
        hours=hours,
        preempted_hosts=cloud.preempted_hosts,
        drops=cloud.drops,
        connects=cloud.shell.connects,
        most_connects_of_a_host=cloud.shell.most_connects,
        inventory_calls=dict(cloud.inventory_calls),
        most_threads=most_threads,
        memory_mb=memory,
        landed_hosts=sum(path.stat().st_size > 0 for path in (directory / "workers").glob("*.txt")),
        seconds=time.monotonic() - began,
    )


def bounds_broken(figures: ScaleFigures) -> list[str]:
    """Which of the bounds that docs/scaling.md states do not hold, for people."""
    looks = figures.hours * _HOUR / LogConfig().discovery_seconds + 2
    lives = figures.hosts + figures.preempted_hosts
    bounds = {
        "threads": (figures.most_threads, 2),
        "looks at the slices": (figures.inventory_calls["list_slices"], looks),
        "looks at the controller": (figures.inventory_calls["find_controller"], looks / 6 + 2),
        "connects": (
            figures.connects,
            lives + figures.drops + figures.hosts * figures.hours + _TRIES_OF_A_LOST_HOST * figures.preempted_hosts,
        ),
        "MB more": (figures.growth_mb, _MOST_GROWTH_MB + figures.preempted_hosts * _KB_OF_A_LIFE / 1000),
    }
    return [f"{value} {name}, at most {most:.0f} promised" for name, (value, most) in bounds.items() if value > most]


def _stop(stop: Callable[[], None], clock: FakeClock) -> None:
    thread = threading.Thread(target=stop)
    thread.start()
    while thread.is_alive():
        thread.join(0.01)
        clock.advance(0.05)


def main() -> None:
    """Simulate, and say what came of it."""
    logging.getLogger("iris").setLevel(logging.CRITICAL)  # it warns of every lost connection
    hosts = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    hours = int(sys.argv[2]) if len(sys.argv) > 2 else 24
    with tempfile.TemporaryDirectory(prefix="iris-scale-") as directory:
        figures = simulate(hosts, hours, Path(directory))
    _KEPT.parent.mkdir(exist_ok=True)
    _KEPT.write_text(json.dumps(asdict(figures)) + "\n", encoding="utf-8")
    sys.stdout.write(f"{figures}\n{figures.growth_mb:.1f} MB more at the end than after a third of the time\n")
    for broken in bounds_broken(figures):
        sys.stdout.write(f"BROKEN: {broken}\n")


if __name__ == "__main__":
    main()
