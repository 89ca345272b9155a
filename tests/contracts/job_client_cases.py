"""What the contract suite of the job client runs against: three workers with two CPUs each, in this process or on a real Ray.

local   the in-process controller
ray     a Ray head and three Ray nodes: two hosts of one slice and one of another (needs the dependency group `ray`)
"""

from __future__ import annotations

import fcntl
import time
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iris_adapters.controller.client import JobClient
from iris_adapters.controller.local_controller import LocalController
from iris_adapters.system_clock import SystemClock
from iris_core.config import LocalConfig
from tests.support.ray_fixtures import RAY_CPUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from iris_adapters.controller.wire import JobInfo, TaskInfo
    from tests.support.ray_cluster import RayCluster

CPUS = RAY_CPUS
PATIENCE_SECONDS = 90.0  # Ray starts two Python processes per job, on a machine that may be busy


@dataclass(frozen=True)
class JobCase:
    """A controller and how to reach it.

    Attributes:
        kind: `local` or `ray`.
        url: the controller's.
        token: its token.
        gang_workers: how many replicas of a gang it has room for.
    """

    kind: str
    url: str
    token: str
    gang_workers: int

    def client(self) -> JobClient:
        """A client; the caller closes it."""
        return JobClient(self.url, self.token)


def local_case() -> Iterator[JobCase]:
    """The in-process controller."""
    with closing(LocalController(LocalConfig(workers=3, cpus_per_worker=CPUS), SystemClock())) as controller:
        yield JobCase("local", controller.url, controller.token, gang_workers=3)


def ray_case(cluster: RayCluster) -> JobCase:
    """A real Ray."""
    return JobCase("ray", cluster.url, cluster.token, gang_workers=2)


def wait_for(condition: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until something is so."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:g} s"
        time.sleep(0.05)


def ended(client: JobClient, job_id: str) -> JobInfo:
    """The job, once it has ended."""
    wait_for(lambda: client.get(job_id).status.has_ended, f"{job_id} ends")
    return client.get(job_id)


def tasks_when(
    client: JobClient, job_id: str, condition: Callable[[tuple[TaskInfo, ...]], bool]
) -> tuple[TaskInfo, ...]:
    """The tasks, once they are so."""
    seen: tuple[TaskInfo, ...] = ()

    def is_so() -> bool:
        nonlocal seen
        seen = client.tasks(job_id)
        return condition(seen)

    try:
        wait_for(is_so, f"the tasks of {job_id} are as expected")
    except AssertionError as error:
        error.add_note(f"{client.get(job_id)}\n{seen}\n{client.logs(job_id)}")
        raise
    return seen


def is_held(path: Path) -> bool:
    """Whether a process holds the lock on this file: what a job started with `flock` does until its last process has ended."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
