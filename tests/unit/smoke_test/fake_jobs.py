"""A job API in memory, whose jobs play what a test says."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from iris_adapters.controller.wire import JobInfo, JobRequest, JobStatus, TaskInfo
from iris_core.errors import JobApiError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@dataclass
class Play:
    """What a job does: its status at each look (the last stays), and what it has printed."""

    statuses: list[JobStatus | JobApiError] = field(default_factory=lambda: [JobStatus.RUNNING, JobStatus.SUCCEEDED])
    log: str | JobApiError = ""
    tasks: tuple[TaskInfo, ...] | JobApiError = ()
    message: str = ""


def mark_of(request: JobRequest) -> str:
    """The word that a job of the smoke test prints."""
    found = re.search(r"iris-smoke-[0-9a-f]{8}", request.entrypoint)
    assert found is not None
    return found[0]


def overlapping(mark: str, times: dict[int, tuple[int, int]]) -> str:
    """The log of replicas that began and ended at these times."""
    began = [f"[task {index}] {mark} began index={index} at={begin}\n" for index, (begin, _) in times.items()]
    ended = [f"[task {index}] {mark} ended index={index} at={end}\n" for index, (_, end) in times.items()]
    return "".join(began + ended)


def honest(request: JobRequest) -> Play:
    """What the smoke test's jobs do where everything is right, and at once: nobody need wait for them."""
    mark = mark_of(request)
    if request.replicas == 1:
        log = f"{mark}\n"
    elif " began " in request.entrypoint:
        log = overlapping(mark, {index: (100 + index, 115 + index) for index in range(request.replicas)})
    else:
        log = "".join(f"[task {index}] {mark} met index={index}\n" for index in range(request.replicas))
    return Play(statuses=[JobStatus.SUCCEEDED], log=log)


def lands(root: Path, play: Play) -> Play:
    """As if one worker had run all of the job's replicas, and its log had landed."""
    if isinstance(play.log, str):
        path = root / "workers" / "w.txt"
        path.parent.mkdir(exist_ok=True)
        with path.open("a") as file:
            file.writelines(f"2026-11-24T00:00:00.000000000Z stdout F {line}\n" for line in play.log.splitlines())
    play.tasks = tuple(TaskInfo(index=index, state=JobStatus.SUCCEEDED, worker_id="w") for index in range(4))
    return play


class FakeJobs:
    """Implements what the smoke test asks of `JobClient`.

    Attributes:
        submitted: every request, in order.
        stopped: the ids of the jobs that were told to stop.
        events: `submit`, `get` … in order, for tests of order.
    """

    def __init__(self, play: Callable[[JobRequest], Play] = honest) -> None:
        self._play = play
        self._plays: dict[str, Play] = {}
        self.submitted: list[JobRequest] = []
        self.stopped: list[str] = []
        self.events: list[str] = []

    def submit(self, request: JobRequest) -> str:
        """As `JobClient.submit`."""
        self.events.append("submit")
        self.submitted.append(request)
        job_id = f"job-{len(self.submitted)}"
        self._plays[job_id] = self._play(request)
        return job_id

    def get(self, job_id: str) -> JobInfo:
        """As `JobClient.get`."""
        self.events.append("get")
        play = self._plays[job_id]
        status = play.statuses.pop(0) if len(play.statuses) > 1 else play.statuses[0]
        if isinstance(status, JobApiError):
            raise status
        return JobInfo(job_id=job_id, status=status, entrypoint="", message=play.message)

    def tasks(self, job_id: str) -> tuple[TaskInfo, ...]:
        """As `JobClient.tasks`."""
        tasks = self._plays[job_id].tasks
        if isinstance(tasks, JobApiError):
            raise tasks
        return tasks

    def logs(self, job_id: str) -> str:
        """As `JobClient.logs`."""
        log = self._plays[job_id].log
        if isinstance(log, JobApiError):
            raise log
        return log

    def stop(self, job_id: str) -> bool:
        """As `JobClient.stop`."""
        self.stopped.append(job_id)
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
