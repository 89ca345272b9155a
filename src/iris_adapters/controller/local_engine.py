"""The in-process engine: it runs jobs as processes of this machine on a few pretended workers."""

from __future__ import annotations

import atexit
import logging
import os
import secrets
import threading
from functools import partial
from typing import TYPE_CHECKING

from iris_adapters.controller.job_log import JobLog, LogChunk
from iris_adapters.controller.local_job import LocalJob
from iris_adapters.controller.process_loop import Plan, ProcessLoop, Replica
from iris_adapters.controller.scheduling import Cluster, Placement, decide, impossible, millicpus
from iris_core.errors import JobApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iris_adapters.controller.wire import JobInfo, JobRequest, TaskInfo
    from iris_core.ports.clock import Clock

_log = logging.getLogger("iris.controller")
_worker_log = logging.getLogger("iris.worker")

_NOT_FOUND, _CONFLICT, _UNAVAILABLE = 404, 409, 503


class LocalEngine:
    """Workers in this process. Every method may be called from any thread.

    A loop of its own (`ProcessLoop`) has the processes on its one thread. The methods here look at and change the jobs' states
    under one lock, which is never held while a process is started or signalled, a line is logged or a callback runs.

    Each output line goes to the logger `iris.worker.<worker id>` at INFO, and to the job's log, with `[task N] ` before it if the
    job has several replicas. When a job has ended, all its lines have been handed over.

    Args:
        workers: how many workers, called `local-w0` and so on.
        cpus_per_worker: what each offers. Nothing is enforced: it bounds how many replicas run at the same time.
        clock: time.
        stop_grace_seconds: between SIGTERM and SIGKILL; 3 s is what Ray gives.
        drain_seconds: how long what a replica's own process left running may go on writing before its process group is ended.
            A process that has left the group (setsid) is on its own.
        log_limit_bytes: how much of each job's output is kept; what came first is dropped first.
        most_ended_jobs: how many ended jobs are remembered; the oldest are forgotten first.
    """

    def __init__(
        self,
        *,
        workers: int,
        cpus_per_worker: float,
        clock: Clock,
        stop_grace_seconds: float = 3.0,
        drain_seconds: float = 1.0,
        log_limit_bytes: int = 4 * 1024 * 1024,
        most_ended_jobs: int = 256,
    ) -> None:
        if not hasattr(os, "pidfd_open"):
            raise JobApiError("the local controller needs Linux 5.3 or newer: it watches its processes through pidfd")
        self._cluster = Cluster(
            workers=tuple(f"local-w{index}" for index in range(workers)),
            millicpus_per_worker=millicpus(cpus_per_worker),
        )
        self._clock = clock
        self._log_limit_bytes = log_limit_bytes
        self._most_ended_jobs = most_ended_jobs
        if _worker_log.level == logging.NOTSET:
            # Else the root's WARNING would keep the workers' lines from a handler on `iris`, which is to get every one.
            _worker_log.setLevel(logging.INFO)
        self._lock = threading.Lock()  # guards the next three, and what the jobs hold
        self._jobs: dict[str, LocalJob] = {}  # in the order of submission
        self._watchers: dict[str, list[Callable[[], None]]] = {}
        self._closing = False
        self._loop = ProcessLoop(self, clock, stop_grace_seconds=stop_grace_seconds, drain_seconds=drain_seconds)
        atexit.register(self.close)  # a script that never closes must not leave its jobs running

    def submit(self, request: JobRequest) -> str:
        """Take a job on and return its id.

        Raises:
            JobApiError: 409: there is a job of that id; 503: the engine is closing.
        """
        with self._lock:
            if self._closing:
                raise JobApiError("the controller is shutting down", status=_UNAVAILABLE)
            job_id = request.job_id or f"job-{secrets.token_hex(6)}"
            if job_id in self._jobs:
                raise JobApiError(f"there is a job {job_id} already; choose another id or delete it", status=_CONFLICT)
            job = LocalJob(job_id, request, self._now_ms(), JobLog(self._log_limit_bytes))
            job.verdict = impossible(self._cluster, job.demand()) or job.verdict
            self._jobs[job_id] = job
            self._loop.wake()
        return job_id

    def get(self, job_id: str) -> JobInfo:
        """The job as it is now.

        Raises:
            JobApiError: 404: there is none of that id. Every method that takes an id raises it.
        """
        with self._lock:
            return self._job(job_id).info()

    def list(self) -> tuple[JobInfo, ...]:
        """All jobs, oldest first."""
        with self._lock:
            return tuple(job.info() for job in self._jobs.values())

    def tasks(self, job_id: str) -> tuple[TaskInfo, ...]:
        """The job's replicas by index."""
        with self._lock:
            return self._job(job_id).task_infos()

    def logs(self, job_id: str) -> str:
        """What is kept of the job's output so far."""
        with self._lock:
            return self._job(job_id).log.text()

    def read_log(self, job_id: str, position: int) -> LogChunk:
        """A few lines of the job's log from `position` (0: the beginning) on."""
        with self._lock:
            job = self._job(job_id)
            text, position = job.log.read(position)
            return LogChunk(text, position, is_last=job.has_ended and not text)

    def watch(self, job_id: str, callback: Callable[[], None]) -> Callable[[], None]:
        """Have `callback` called, on the engine's thread, whenever the job's log has grown or the job has ended.

        Returns:
            what ends this; one last call may still be under way then.
        """
        with self._lock:
            self._job(job_id)
            self._watchers.setdefault(job_id, []).append(callback)
        return partial(self._unwatch, job_id, callback)

    def stop(self, job_id: str) -> bool:
        """Begin to end the job: SIGTERM for its replicas, after the grace SIGKILL. False: it had ended already."""
        with self._lock:
            stopped = self._job(job_id).stop("Job was intentionally stopped.", self._now_ms())
            watchers = tuple(self._watchers.get(job_id, ()))
            self._loop.wake()
        for watcher in watchers:  # a job that never started has ended right here
            watcher()
        return stopped

    def delete(self, job_id: str) -> None:
        """Forget an ended job and its log.

        Raises:
            JobApiError: 409: it has not ended; 404.
        """
        with self._lock:
            if not self._job(job_id).has_ended:
                raise JobApiError(f"the job {job_id} has not ended; stop it first", status=_CONFLICT)
            del self._jobs[job_id]

    def close(self) -> None:
        """End every job and wait until no process and no thread of the engine is left. Idempotent."""
        atexit.unregister(self.close)
        with self._lock:
            self._closing = True
            for job in self._jobs.values():
                job.stop("The controller was shut down.", self._now_ms())
            self._loop.wake()
        self._loop.join()

    def _job(self, job_id: str) -> LocalJob:
        job = self._jobs.get(job_id)
        if job is None:
            raise JobApiError(f"there is no job {job_id[:140]}", status=_NOT_FOUND)
        return job

    def _now_ms(self) -> int:
        return int(self._clock.now().timestamp() * 1000)

    def _unwatch(self, job_id: str, callback: Callable[[], None]) -> None:
        with self._lock:
            watchers = self._watchers.get(job_id, [])
            if callback in watchers:
                watchers.remove(callback)
            if not watchers:
                self._watchers.pop(job_id, None)

    def _tell(self, job_id: str) -> None:
        with self._lock:
            watchers = tuple(self._watchers.get(job_id, ()))
        for watcher in watchers:
            watcher()

    def _forget_old_jobs(self) -> None:
        ended = [job_id for job_id, job in self._jobs.items() if job.has_ended]
        for job_id in ended[: max(0, len(ended) - self._most_ended_jobs)]:
            del self._jobs[job_id]

    # The process loop's questions and news; they come on its thread.

    def plan(self, running: Sequence[Replica]) -> Plan:
        """Which replicas start now, and of which jobs the running ones are to be ended."""
        used: dict[str, int] = {}
        for replica in running:
            used[replica.worker_id] = used.get(replica.worker_id, 0) + replica.millicpus
        with self._lock:
            going_on = [job for job in self._jobs.values() if not (job.is_ending or job.has_ended)]
            demands = [demand for job in going_on if (demand := job.demand()).waiting]
            decision = decide(self._cluster, used, demands)
            for job_id, verdict in decision.verdicts.items():
                self._jobs[job_id].verdict = verdict
            for placement in decision.placements:
                self._jobs[placement.job_id].place(placement.index, placement.worker_id)
            return Plan(
                start=[self._replica(placement) for placement in decision.placements],
                end={job.job_id for job in self._jobs.values() if job.is_ending and not job.has_ended},
                leave=self._closing,
            )

    def on_lines(self, replica: Replica, lines: Sequence[str]) -> None:
        """Hand a replica's lines to logging and to the job's log."""
        logger = _worker_log.getChild(replica.worker_id)
        for line in lines:
            try:
                logger.info("%s", line, extra={"iris_job_id": replica.job_id, "iris_task_index": replica.index})
            except Exception:  # noqa: BLE001 - a user's broken handler must not end every job
                _log.warning("a logging handler failed on a line of %s", replica.worker_id, exc_info=True)
        with self._lock:
            job = self._jobs[replica.job_id]
            prefix = f"[task {replica.index}] " if job.request.replicas > 1 else ""
            job.log.append([prefix + line for line in lines])
        self._tell(replica.job_id)

    def on_exit(self, replica: Replica, exit_code: int) -> None:
        """Note a replica's end."""
        with self._lock:
            self._jobs[replica.job_id].exit(replica.index, exit_code, self._now_ms())
            self._forget_old_jobs()
        self._loop.wake()
        self._tell(replica.job_id)

    def on_start_failure(self, replica: Replica, error: OSError) -> None:
        """Note that a replica could not be started."""
        with self._lock:
            problem = error.strerror or str(error)
            self._jobs[replica.job_id].fail_to_start(replica.index, problem, self._now_ms())
            self._forget_old_jobs()
        self._loop.wake()
        self._tell(replica.job_id)

    def on_loop_failure(self, error: Exception) -> None:
        """Nothing can run any more: say so and take nothing on."""
        with self._lock:
            self._closing = True
            for job in self._jobs.values():
                job.stop(f"The local engine failed: {error}", self._now_ms())

    def _replica(self, placement: Placement) -> Replica:
        request = self._jobs[placement.job_id].request
        return Replica(
            job_id=placement.job_id,
            index=placement.index,
            worker_id=placement.worker_id,
            millicpus=millicpus(request.cpus_per_replica),
            entrypoint=request.entrypoint,
            env={
                "PYTHONUNBUFFERED": "1",  # else a Python job's lines would come in blocks, long after they were printed
                **os.environ,
                **request.env,
                "IRIS_JOB_ID": placement.job_id,
                "IRIS_TASK_INDEX": str(placement.index),
                "IRIS_NUM_TASKS": str(request.replicas),
                "IRIS_WORKER_ID": placement.worker_id,
            },
        )
