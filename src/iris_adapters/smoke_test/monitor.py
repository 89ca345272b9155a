"""What the controller says about the tasks of the smoke test's jobs, written down as it changes."""

from __future__ import annotations

import json
import threading
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Protocol, Self

from iris_core.errors import IrisError, JobApiError
from iris_core.log_paths import open_private

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from types import TracebackType

    from iris_adapters.controller.wire import TaskInfo
    from iris_adapters.smoke_test.logger import SmokeTestLogger
    from iris_core.ports.clock import Clock

_NOT_FOUND = 404


class TaskSource(Protocol):
    """Where the tasks of a job are asked for: `JobClient` is one."""

    def tasks(self, job_id: str) -> Sequence[TaskInfo]:
        """The job's tasks by index."""
        ...


class _TrackedJob:
    def __init__(self, job_id: str, name: str) -> None:
        self.job_id = job_id
        self.name = name
        self.last: tuple[TaskInfo, ...] | None = None
        self.snapshots = 0
        self.last_problem = ""


class TaskSchedulingMonitor:
    """Asks the controller for the tasks of the tracked jobs, on a thread of its own, and writes a snapshot of each change.

    A snapshot is `{name}-{number}.json`: job id, name, time, and the tasks with index, state, pending reason, can-be-scheduled,
    worker and exit code. A controller that does not answer is a line in the log, and asked again.

    Args:
        source: the controller's job API.
        directory: where the snapshots go; it exists.
        logger: told of changes and problems.
        clock: time.
        poll_seconds: how often it asks.
    """

    def __init__(
        self,
        source: TaskSource,
        directory: Path,
        logger: SmokeTestLogger,
        clock: Clock,
        *,
        poll_seconds: float = 0.5,
    ) -> None:
        self._source = source
        self._directory = directory
        self._logger = logger
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._lock = threading.Lock()
        self._jobs: list[_TrackedJob] = []
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="iris-scheduling-monitor", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def track_job(self, job_id: str, name: str) -> None:
        """Watch this job from now on, until its tasks have ended. The name is for the file names and the log."""
        with self._lock:
            self._jobs.append(_TrackedJob(job_id, name))
        self._wake.set()

    def stop(self) -> None:
        """Ask a last time for what has not ended, and end the thread. Idempotent."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def poll(self) -> None:
        """Ask once for every tracked job. The thread does this; it raises nothing."""
        with self._lock:
            jobs = tuple(self._jobs)
        ended = [job for job in jobs if self._look_at(job)]
        with self._lock:
            self._jobs = [job for job in self._jobs if job not in ended]

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self.poll()
            if not self._stopping:
                self._clock.wait(self._wake, self._poll_seconds)
        self.poll()

    def _look_at(self, job: _TrackedJob) -> bool:
        """Note what is new about a job; True if there will be no more."""
        try:
            tasks = tuple(self._source.tasks(job.job_id))
            if tasks != job.last:
                self._write(job, tasks)
                self._logger.log(f"{job.name}: {_summary(tasks)}")
                job.last = tasks
        except (IrisError, OSError) as error:
            return self._note_problem(job, error)
        job.last_problem = ""
        return bool(tasks) and all(task.state.has_ended for task in tasks)

    def _note_problem(self, job: _TrackedJob, error: Exception) -> bool:
        lists_no_tasks = isinstance(error, JobApiError) and error.status == _NOT_FOUND
        if str(error) != job.last_problem:
            job.last_problem = str(error)
            ending = "; it is not asked again" if lists_no_tasks else ""
            self._logger.log(f"{job.name}: its tasks are not known: {error}{ending}")
        return lists_no_tasks

    def _write(self, job: _TrackedJob, tasks: tuple[TaskInfo, ...]) -> None:
        snapshot = {
            "job_id": job.job_id,
            "name": job.name,
            "time": self._clock.now().isoformat(),
            "tasks": [asdict(task) for task in tasks],
        }
        path = self._directory / f"{job.name}-{job.snapshots + 1:03}.json"
        with open_private(path, "w") as file:
            file.write(json.dumps(snapshot, indent=2) + "\n")
        job.snapshots += 1


def _summary(tasks: Sequence[TaskInfo]) -> str:
    """`3 RUNNING, 1 PENDING (needs 1 CPU …)`."""
    counts = Counter(task.state for task in tasks)
    reasons = sorted({task.pending_reason for task in tasks if task.pending_reason})
    text = ", ".join(f"{count} {state}" for state, count in counts.items()) or "no tasks yet"
    return f"{text} ({'; '.join(reasons)})" if reasons else text
