"""`python -m tests.benchmarks.scale [HOSTS] [HOURS]`: a day of preemptions in fake time, and what is bounded in it.

The real capture and discovery (`open_log_streaming`, its two threads) over the fakes of the three ports: a cluster of slices of eight
hosts, each slice preempted after some hours and replaced by another, and connections that are lost without cause. Landed files are real.

A quiet stream is checked once an hour here instead of every few minutes: at 10,000 hosts and 24 hours those checks would be millions of
looks at the fakes' engine. Each is a channel of its own, which the bound of the connects allows for.
"""

from __future__ import annotations

import gc
import json
import logging
import resource
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from iris_core import log_reading
from iris_core.config import ClusterConfig, GcpConfig, LogConfig, Mode
from iris_core.log_pump import CaptureSlot
from iris_core.log_streaming import open_log_streaming
from tests.benchmarks.processes import memory_mb
from tests.benchmarks.scale_cloud import Cloud

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path as PathType

    from iris_adapters.fakes import FakeClock

_STEP_SECONDS: Final = 10.0
_HOUR: Final = 3600.0
_DESCRIPTORS_BESIDES: Final = 200
_TRIES_OF_A_LOST_HOST: Final = 8  # at once, and after 1, 2, 4 … 30 s more while it is listed; and as it is let go
_MOST_GROWTH_MB: Final = 10.0
_KB_OF_A_LIFE: Final = 0.2  # its name, in what was discovered
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
        kept_sources: how many sources of hosts that had gone more than two hours before the end were in memory; the check of a quiet
            stream, one an hour here, holds what has ended for an hour.
        landed_hosts: how many hosts have a landed line.
        seconds: of real time.
        cpu_seconds: of this process, all that it pretends included.
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
    kept_sources: int
    landed_hosts: int
    seconds: float
    cpu_seconds: float

    @property
    def growth_mb(self) -> float:
        """From the first third of the time to its end."""
        return self.memory_mb[-1] - self.memory_mb[len(self.memory_mb) // 3]


def simulate(hosts: int, hours: float, directory: PathType, seed: int = 1) -> ScaleFigures:
    """Let that many hours pass for that many hosts, and land their logs in an empty directory."""
    began, began_cpu = time.monotonic(), time.process_time()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < hosts + _DESCRIPTORS_BESIDES:
        raise RuntimeError(f"{hosts} landed files need as many descriptors, and {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    silence = log_reading._FIRST_SILENCE, log_reading._MOST_SILENCE
    cloud = Cloud(hosts, seed)
    threads_before, most_threads = threading.active_count(), 0
    memory, gone = [], [0, 0]
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
            gone.append(cloud.preempted_hosts)
        kept = _count_sources() - hosts - 1 - (gone[-1] - gone[-3])
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
        kept_sources=max(0, kept),
        landed_hosts=sum(path.stat().st_size > 0 for path in (directory / "workers").glob("*.txt")),
        seconds=time.monotonic() - began,
        cpu_seconds=time.process_time() - began_cpu,
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
        "sources kept": (figures.kept_sources, 0),
        "MB more": (figures.growth_mb, _MOST_GROWTH_MB + figures.preempted_hosts * _KB_OF_A_LIFE / 1000),
    }
    return [f"{value} {name}, at most {most:.0f} promised" for name, (value, most) in bounds.items() if value > most]


def _count_sources() -> int:
    gc.collect()
    return sum(type(one) is CaptureSlot for one in gc.get_objects())


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
