"""`python -m tests.benchmarks.scale [HOSTS] [HOURS]`: a day of preemptions in fake time, and what is bounded in it.

The real capture and discovery (`open_log_streaming`, its two threads, the default label watched) over the fakes of the three ports: a
cluster of slices of eight hosts, each slice preempted after some hours and replaced by another, and connections that are lost without
cause. Landed files are real. No host has a labelled container: those come on top, a channel and a file each.

After a third of the hours, and after all of them, nothing is preempted or lost for a good hour more (`_REST_SECONDS`): then as many hosts
are captured as at first, and nothing else, and what is in memory more than at the rest before is what the lives that ended have left.

Two things are not as in earnest. A quiet channel is checked once an hour instead of every few minutes: at 10,000 hosts and 24 hours those
checks would be millions of looks at the fakes' engine. And nothing is let gather for some milliseconds: time goes in steps of five seconds.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import resource
import sys
import tempfile
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Final

from iris_core import container_watch, log_pump, log_reading
from iris_core.config import ClusterConfig, GcpConfig, LogConfig, Mode
from iris_core.log_pump import CaptureSlot
from iris_core.log_streaming import open_log_streaming
from tests.benchmarks.processes import memory_mb
from tests.benchmarks.scale_bounds import ScaleFigures, bounds_broken
from tests.benchmarks.scale_cloud import CHECK_SECONDS, HOSTS_OF_A_SLICE, HOUR, Cloud

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iris_adapters.fakes import FakeClock

_REST_SECONDS: Final = (
    4200.0  # a source of a host that has gone is in memory until its next check would have been, at most an hour
)
_HEAR_SECONDS: Final = 60.0  # for a line to land
_DESCRIPTORS_BESIDES: Final = 200
_ONE_LOST_OF: Final = 8  # slices, when all is stopped
_STOP_STEP_SECONDS: Final = 0.05
_STOP_TIMEOUT_SECONDS: Final = 300.0  # of real time
_CONSTANTS: Final = (  # see above
    (log_reading, "_FIRST_SILENCE", CHECK_SECONDS),
    (log_reading, "_MOST_SILENCE", CHECK_SECONDS),
    (container_watch, "_RELIST_SECONDS", CHECK_SECONDS),
    (container_watch, "_MOST_RELIST_SECONDS", CHECK_SECONDS),
    (log_pump, "_MOST_GATHER_SECONDS", 0.0),
)
_KEPT: Final = Path(".benchmarks/scale.json")


def simulate(hosts: int, hours: float, directory: Path, seed: int = 1) -> ScaleFigures:
    """Let that many hours pass for that many hosts, and land their logs in an empty directory.

    Args:
        hosts: a multiple of 8.
        hours: of preemptions and lost connections, in fake time; the rests come on top.
        directory: for the logs.
        seed: of all that is random.

    Raises:
        RuntimeError: this process may not have that many files open.
        TimeoutError: iris did not come to rest, or did not stop, for minutes of real time.
        ValueError: `hosts` is no such multiple.
    """
    began, began_cpu = time.monotonic(), time.process_time()
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < hosts + _DESCRIPTORS_BESIDES:
        raise RuntimeError(f"{hosts} landed files need as many descriptors, and {hard} are allowed (ulimit -Hn)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    threads_before, sources_before = set(threading.enumerate()), _sources()
    threads: set[int] = set()
    config = ClusterConfig(
        mode=Mode.GCP,
        gcp=GcpConfig(project_id="project", zone="us-central1-a"),
        logs=LogConfig(use_sudo=False),
    )
    with _constants():
        cloud = Cloud(hosts, seed)
        first = cloud.write(b"hello\n")
        handle = open_log_streaming(
            config=config,
            shell=cloud.shell,
            inventory=cloud.inventory,
            clock=cloud.clock,
            output_dir=directory,
            controller_container="iris-controller",
            worker_container="iris-worker",
        )

        def look() -> None:
            threads.add(len(set(threading.enumerate()) - threads_before))

        def pass_hours(part: float) -> None:
            while part > 0:
                cloud.pass_time(min(part, 1.0) * HOUR, look)
                cloud.forget()
                part -= 1.0

        def rest() -> tuple[int, float]:
            cloud.stay_calm(_REST_SECONDS)
            cloud.pass_time(_REST_SECONDS, look)
            cloud.forget()
            memory = memory_mb()
            return _held_bytes(), memory

        pass_hours(hours / 3)
        first_held, first_memory = rest()
        first_ended = cloud.preempted_hosts
        pass_hours(hours * 2 / 3)
        second_held, second_memory = rest()
        channels, passed_seconds = cloud.channels(), cloud.clock.monotonic()
        sources, descriptors = _sources() - sources_before, _descriptors(directory)

        second = cloud.write(b"here\n")
        cloud.stay_calm(_HEAR_SECONDS)  # of 10,000 hosts, some would be preempted in it
        cloud.pass_time(_HEAR_SECONDS, look)
        heard = _holding(directory, dict.fromkeys(cloud.hosts, first + second))
        lost = cloud.lose_slices(max(1, hosts // HOSTS_OF_A_SLICE // _ONE_LOST_OF))
        last = cloud.write(b"good-bye\n")
        stop_seconds = _stop(handle.stop, cloud.clock)
    whole = dict.fromkeys(cloud.hosts, first + second + last) | dict.fromkeys(lost, first + second)
    names = handle.discovered_workers()
    return ScaleFigures(
        hosts=hosts,
        hours=hours,
        passed_seconds=passed_seconds,
        preempted_hosts=cloud.preempted_hosts,
        drops=cloud.drops,
        channels=channels,
        inventory_calls=dict(cloud.inventory_calls),
        fewest_threads=min(threads),
        most_threads=max(threads),
        sources=sources,
        descriptors=descriptors,
        left_bytes=second_held - first_held,
        left_by=cloud.preempted_hosts - first_ended,
        discovered_hosts=len(set(names)),
        heard_hosts=heard,
        landed_hosts=_holding(directory, dict.fromkeys(names, first) | whole),
        landed_files=sum(1 for _ in (directory / "workers").glob("*.txt")),
        stop_seconds=stop_seconds,
        memory_mb=(first_memory, second_memory),
        seconds=time.monotonic() - began,
        cpu_seconds=time.process_time() - began_cpu,
    )


@contextmanager
def _constants() -> Iterator[None]:
    before = [getattr(module, name) for module, name, _ in _CONSTANTS]
    for module, name, seconds in _CONSTANTS:
        setattr(module, name, seconds)
    try:
        yield
    finally:
        for (module, name, _), seconds in zip(_CONSTANTS, before, strict=True):
            setattr(module, name, seconds)


def _held_bytes() -> int:
    """The size of all objects that Python's collector knows, and of all that they lead to.

    What is not reached from anywhere is no leak of iris's; nor is the table of all interned strings, which doubles now and then.
    """
    gc.collect()
    found: list[object] = [
        *gc.get_objects(),
        sys.modules,
    ]  # those that pytest's process has frozen are found by way of these
    seen = set(map(id, found))
    held = 0
    while found:
        one = found.pop()
        held += sys.getsizeof(one, 0)
        for other in gc.get_referents(one):
            if id(other) not in seen:
                seen.add(id(other))
                found.append(other)
    return held


def _sources() -> int:
    gc.collect()
    return sum(type(one) is CaptureSlot for one in gc.get_objects())


def _descriptors(directory: Path) -> int:
    """How many descriptors are open on what is in a directory."""
    directory, count = directory.resolve(), 0
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - no Path for each of thousands
        with suppress(OSError):  # the one that listed them
            count += Path(os.readlink(f"/proc/self/fd/{name}")).is_relative_to(directory)  # noqa: PTH115 - as above
    return count


def _holding(directory: Path, whole: dict[str, bytes]) -> int:
    """How many of these hosts' landed files hold exactly what they should."""
    paths = {directory / "workers" / f"{name}.txt": data for name, data in whole.items()}
    return sum(path.exists() and path.read_bytes() == data for path, data in paths.items())


def _stop(stop: Callable[[], None], clock: FakeClock) -> float:
    """Stop; returns how much fake time that took.

    Time passes only while both threads of iris wait for it: the one that stops waits for the end of the other without a need for time.
    """
    began, give_up_at = clock.monotonic(), time.monotonic() + _STOP_TIMEOUT_SECONDS
    thread = threading.Thread(target=stop)
    thread.start()
    while thread.is_alive():
        thread.join(0.001)
        if clock.waiters > 1:
            clock.advance(_STOP_STEP_SECONDS)
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"stop did not return within {_STOP_TIMEOUT_SECONDS:.0f} s")
    return clock.monotonic() - began


def main(arguments: list[str]) -> int:
    """Simulate, and say what came of it. Returns 1 where a bound is broken, else 0."""
    logging.getLogger("iris").setLevel(logging.CRITICAL)  # it warns of every lost connection
    hosts = int(arguments[0]) if arguments else 10_000
    hours = int(arguments[1]) if len(arguments) > 1 else 24
    with tempfile.TemporaryDirectory(prefix="iris-scale-") as directory:
        figures = simulate(hosts, hours, Path(directory))
    _KEPT.parent.mkdir(exist_ok=True)
    _KEPT.write_text(json.dumps(asdict(figures)) + "\n", encoding="utf-8")
    sys.stdout.write(f"{figures}\n")
    broken = bounds_broken(figures)
    for one in broken:
        sys.stdout.write(f"BROKEN: {one}\n")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
