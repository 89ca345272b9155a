"""Running the smoke test's jobs: submit, wait, keep their logs, and say what went wrong."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from iris_adapters.controller.wire import JobInfo, JobStatus
from iris_core.errors import IrisError, JobApiError, LogFileError
from iris_core.log_paths import open_private
from iris_core.log_reader import read_payloads

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from iris_adapters.controller.wire import JobRequest, TaskInfo
    from iris_adapters.smoke_test.log_tree import LogTree
    from iris_adapters.smoke_test.logger import SmokeTestLogger
    from iris_core.ports.clock import Clock

_FIRST_PAUSE_SECONDS: Final = 0.05
_MOST_PAUSE_SECONDS: Final = 1.0
_PAUSE_GROWTH: Final = 1.5
_SERVER_ERROR: Final = 500
_TAIL_LINES: Final = 20
_LANDING_SECONDS: Final = 60.0  # a line lands within a second, unless its host's connection is just being made anew


class JobApi(Protocol):
    """What the smoke test asks of the job API: `JobClient` is one. Every method raises JobApiError."""

    def submit(self, request: JobRequest) -> str:
        """Submit a job and return its id."""
        ...

    def get(self, job_id: str) -> JobInfo:
        """The job as it is now."""
        ...

    def tasks(self, job_id: str) -> Sequence[TaskInfo]:
        """Its tasks by index."""
        ...

    def logs(self, job_id: str) -> str:
        """What it has printed."""
        ...

    def stop(self, job_id: str) -> bool:
        """Have it stopped."""
        ...


class JobWatcher(Protocol):
    """Told of every job that was submitted: `TaskSchedulingMonitor` is one."""

    def track_job(self, job_id: str, name: str) -> None:
        """Watch this job."""
        ...


class CheckFailedError(Exception):
    """A check failed; the message says why."""


@dataclass(slots=True)
class _Job:
    name: str
    job_id: str
    status: JobStatus = JobStatus.PENDING
    problem: str = ""  # why it is not waited for any more, though it has not ended
    log: str = ""


class JobRunner:
    """Runs jobs to their ends.

    Args:
        api: the controller's.
        watcher: told of each job.
        tree: gets each job's log as `jobs/{name}.txt`.
        logger: told of what happens.
        clock: time, and waits.
        timeout_seconds: from submitting jobs to the end of the last of them.
        landed: the landed log of the worker of this id, where what the replicas print is landed. None: it is not, in this process.
        workers_may_join: whether a job that no worker can run may still find one, because a worker that starts takes minutes.
        check: called between looks; raises what is to end the waiting.
    """

    def __init__(
        self,
        api: JobApi,
        watcher: JobWatcher,
        tree: LogTree,
        logger: SmokeTestLogger,
        clock: Clock,
        *,
        timeout_seconds: float,
        landed: Callable[[str], Path] | None = None,
        workers_may_join: bool = False,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        self._api = api
        self._watcher = watcher
        self._tree = tree
        self._logger = logger
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._landed = landed
        self._workers_may_join = workers_may_join
        self._job_ids: dict[str, str] = {}
        self._check = check
        self._never = threading.Event()

    def run(self, requests: Mapping[str, JobRequest]) -> dict[str, str]:
        """Submit the jobs, by name, one right after the other, and wait until all have succeeded.

        Returns:
            their logs by name.

        Raises:
            CheckFailedError: one did not succeed. Then the last lines of each that did not are in the smoke test's log, and
                those that had not ended have been told to stop.
            JobApiError: one could not be submitted.
        """
        jobs: list[_Job] = []
        try:
            for name, request in requests.items():
                job = _Job(name, self._api.submit(request))
                jobs.append(job)
                self._job_ids[name] = job.job_id
                self._watcher.track_job(job.job_id, name)
                self._logger.log(f"{name}: submitted as {job.job_id}")
            self._wait(jobs)
        finally:
            self._stop([job for job in jobs if not job.status.has_ended])
        for job in jobs:
            job.log = self._keep_log(job)
        failures = [job for job in jobs if job.problem]
        for job in failures:
            lines = job.log.splitlines()[-_TAIL_LINES:]
            self._logger.block(f"{job.name}: its last lines:", "\n".join(lines) or "(it has printed nothing)")
        if failures:
            raise CheckFailedError("; ".join(f"{job.name} {job.problem}" for job in failures))
        return {job.name: job.log for job in jobs}

    def check_landed(self, name: str, lines: Sequence[str]) -> str:
        """Wait until the landed log of the host that ran each replica has what that replica printed.

        Args:
            name: of a job that `run` ran.
            lines: what each replica printed, by index.

        Returns:
            what was proven, to be said after the rest; empty in this process, where nothing is landed.

        Raises:
            CheckFailedError: a line is not there in time.
            JobApiError: the job's tasks cannot be had.
        """
        if self._landed is None:
            return ""
        tasks = self._api.tasks(self._job_ids[name])
        missing = [
            (index, tasks[index].worker_id if index < len(tasks) else None, line) for index, line in enumerate(lines)
        ]
        deadline = self._clock.monotonic() + _LANDING_SECONDS
        while True:
            self._check()
            missing = [(index, worker, line) for index, worker, line in missing if not self._has_landed(worker, line)]
            if not missing:
                return "; each line is in the landed log of the host that ran it"
            if self._clock.monotonic() >= deadline:
                told = ", ".join(f"that of replica {index} in the log of {worker}" for index, worker, _ in missing)
                raise CheckFailedError(f"{name} ran, but its lines are not landed after {_LANDING_SECONDS:g} s: {told}")
            self._clock.wait(self._never, _MOST_PAUSE_SECONDS)

    def _has_landed(self, worker: str | None, line: str) -> bool:
        if worker is None or self._landed is None:
            return False
        try:
            return any(line.encode() in payload for _, payload in read_payloads(self._landed(worker)))
        except LogFileError:
            return False  # not yet

    def _wait(self, jobs: Sequence[_Job]) -> None:
        deadline = self._clock.monotonic() + self._timeout_seconds
        pause = _FIRST_PAUSE_SECONDS
        while True:
            self._check()
            for job in _unsettled(jobs):
                self._look_at(job)
            waiting = _unsettled(jobs)
            left = deadline - self._clock.monotonic()
            if not waiting or left <= 0:
                self._give_up(waiting)
                return
            self._clock.wait(self._never, min(pause, left))
            pause = min(pause * _PAUSE_GROWTH, _MOST_PAUSE_SECONDS)

    def _look_at(self, job: _Job) -> None:
        try:
            info = self._api.get(job.job_id)
            job.status = info.status
            if info.status is JobStatus.PENDING and not self._workers_may_join:
                job.problem = self._cannot_run(job)
        except JobApiError as error:
            if error.status is not None and error.status < _SERVER_ERROR:
                raise
            self._logger.log(f"{job.name}: its state is not known at the moment: {error}")  # a tunnel is made anew
            return
        if info.status.has_ended and info.status is not JobStatus.SUCCEEDED:
            job.problem = f"ended as {info.status}: {info.message}"

    def _cannot_run(self, job: _Job) -> str:
        tasks = self._tasks(job)
        return next((f"can never run: {task.pending_reason}" for task in tasks if not task.can_be_scheduled), "")

    def _give_up(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            reasons = {task.pending_reason for task in self._tasks(job) if task.pending_reason}
            why = f" ({'; '.join(sorted(reasons))})" if reasons else ""
            job.problem = f"is {job.status} after {self._timeout_seconds:g} s (--job-timeout){why}"

    def _tasks(self, job: _Job) -> Sequence[TaskInfo]:
        """The job's tasks; none if they cannot be had."""
        try:
            return self._api.tasks(job.job_id)
        except JobApiError:
            return ()

    def _stop(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            try:
                self._api.stop(job.job_id)
            except IrisError as error:
                self._logger.log(f"{job.name}: could not be stopped: {error}")

    def _keep_log(self, job: _Job) -> str:
        try:
            log = self._api.logs(job.job_id)
        except JobApiError as error:
            job.problem = job.problem or "succeeded, but its log cannot be had"
            return f"(its log cannot be had: {error})"
        path = self._tree.file(f"jobs/{job.name}.txt", f"what the job {job.name} printed")
        try:
            with open_private(path, "w") as file:
                file.write(log)
        except OSError as error:
            self._logger.log(f"{path} cannot be written: {error.strerror or error}")
        return log


def _unsettled(jobs: Sequence[_Job]) -> list[_Job]:
    return [job for job in jobs if not (job.status.has_ended or job.problem)]
