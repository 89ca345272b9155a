"""One job of the local controller: the state machine of its tasks. No I/O, no lock: the engine owns both."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iris_adapters.controller.request_json import request_to_json
from iris_adapters.controller.scheduling import Demand, Verdict, millicpus
from iris_adapters.controller.wire import JobInfo, JobStatus, TaskInfo

if TYPE_CHECKING:
    from iris_adapters.controller.job_log import JobLog
    from iris_adapters.controller.wire import JobRequest

_JUST_SUBMITTED = Verdict("has just been submitted", can_be_scheduled=True)


@dataclass(slots=True)
class _Task:
    state: JobStatus = JobStatus.PENDING
    worker_id: str | None = None
    exit_code: int | None = None


class LocalJob:
    """A job's tasks from PENDING to their ends, and what follows from them for the job.

        event                        task                                   job
        place                        PENDING → RUNNING                      RUNNING
        exit 0                       SUCCEEDED                              SUCCEEDED once all have
        exit other than 0            FAILED; those waiting: STOPPED         ending; FAILED once all have ended
        stop                         those waiting: STOPPED                 ending; STOPPED once all have ended
        exit other than 0, ending    STOPPED

    While `is_ending`, the engine ends the tasks that run.

    Args:
        job_id: its id.
        request: what was submitted.
        submitted_ms: when, in milliseconds since 1970 UTC.
        log: where its lines are kept.
    """

    def __init__(self, job_id: str, request: JobRequest, submitted_ms: int, log: JobLog) -> None:
        self.job_id = job_id
        self.request = request
        self.log = log
        self.verdict = _JUST_SUBMITTED
        self._submitted_ms = submitted_ms
        self._ended_ms: int | None = None
        self._tasks = [_Task() for _ in range(request.replicas)]
        self._end: tuple[JobStatus, str, int | None] | None = None  # how it will have ended: status, message, exit code

    @property
    def is_ending(self) -> bool:
        """Whether it failed or was stopped: nothing of it starts any more and what runs is to be ended."""
        return self._end is not None

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it will change any more."""
        return self._ended_ms is not None

    @property
    def status(self) -> JobStatus:
        """Where it is in its life."""
        if self.has_ended and self._end is not None:
            return self._end[0]
        started = any(task.state is not JobStatus.PENDING for task in self._tasks)
        return JobStatus.RUNNING if started else JobStatus.PENDING

    def demand(self) -> Demand:
        """What it wants of the cluster."""
        return Demand(
            job_id=self.job_id,
            waiting=tuple(index for index, task in enumerate(self._tasks) if task.state is JobStatus.PENDING),
            replicas=self.request.replicas,
            millicpus=millicpus(self.request.cpus_per_replica),
            coscheduled=self.request.coscheduled,
        )

    def place(self, index: int, worker_id: str) -> None:
        """A task starts on a worker."""
        self._tasks[index].state = JobStatus.RUNNING
        self._tasks[index].worker_id = worker_id

    def exit(self, index: int, exit_code: int, now_ms: int) -> None:
        """A task's process has ended; negative codes are signals."""
        task = self._tasks[index]
        task.exit_code = exit_code
        if exit_code == 0:
            task.state = JobStatus.SUCCEEDED
        elif self.is_ending:
            task.state = JobStatus.STOPPED
        else:
            task.state = JobStatus.FAILED
            self._begin_end(JobStatus.FAILED, f"task {index} on {task.worker_id} {_ending(exit_code)}", exit_code)
        self._settle(now_ms)

    def fail_to_start(self, index: int, problem: str, now_ms: int) -> None:
        """A task's process could not be started."""
        task = self._tasks[index]
        task.state = JobStatus.FAILED
        self._begin_end(JobStatus.FAILED, f"task {index} could not be started on {task.worker_id}: {problem}", None)
        self._settle(now_ms)

    def stop(self, message: str, now_ms: int) -> bool:
        """Begin to end it. False: it had ended already."""
        if self.has_ended:
            return False
        self._begin_end(JobStatus.STOPPED, message, None)
        self._settle(now_ms)
        return True

    def info(self) -> JobInfo:
        """It as the wire has it."""
        wire = request_to_json(self.request)
        status = self.status
        if self._end is not None:
            message = (
                self._end[1] if self.has_ended else f"{self._end[1].removesuffix('.')}; its other tasks are being ended"
            )
        else:
            message = f"Job {self.verdict.reason}." if status is JobStatus.PENDING else "Job is currently running."
        return JobInfo(
            job_id=self.job_id,
            status=status,
            entrypoint=self.request.entrypoint,
            message=message,
            start_time_ms=self._submitted_ms,
            end_time_ms=self._ended_ms,
            metadata=wire["metadata"],
            runtime_env=wire["runtime_env"],
            exit_code=self._end[2] if self.has_ended and self._end is not None else None,
        )

    def task_infos(self) -> tuple[TaskInfo, ...]:
        """Its tasks as the wire has them, by index."""
        return tuple(self._task_info(index, task) for index, task in enumerate(self._tasks))

    def _task_info(self, index: int, task: _Task) -> TaskInfo:
        waits = task.state is JobStatus.PENDING
        return TaskInfo(
            index=index,
            state=task.state,
            pending_reason=self.verdict.reason if waits else "",
            can_be_scheduled=self.verdict.can_be_scheduled if waits else True,
            worker_id=task.worker_id,
            exit_code=task.exit_code,
        )

    def _begin_end(self, status: JobStatus, message: str, exit_code: int | None) -> None:
        if self._end is None:
            self._end = (status, message, exit_code)
        for task in self._tasks:
            if task.state is JobStatus.PENDING:
                task.state = JobStatus.STOPPED

    def _settle(self, now_ms: int) -> None:
        if self._ended_ms is None and all(task.state.has_ended for task in self._tasks):
            self._ended_ms = now_ms
            if self._end is None:
                self._end = (JobStatus.SUCCEEDED, "Job finished successfully.", 0)


def _ending(exit_code: int) -> str:
    if exit_code > 0:
        return f"exited with {exit_code}"
    try:
        return f"was ended by {signal.Signals(-exit_code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was ended by signal {-exit_code}"
