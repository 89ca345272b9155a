"""The tasks of a job from PENDING to their ends, and what follows from them for the job. No I/O; the driver asks and tells."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

PENDING, RUNNING, SUCCEEDED, FAILED, STOPPED = "PENDING", "RUNNING", "SUCCEEDED", "FAILED", "STOPPED"

_ENDED = {SUCCEEDED, FAILED, STOPPED}
_MOST_EXIT_CODE = 255
_SIGNAL_EXIT_CODE = 128  # plus the signal's number: the shells' convention


@dataclass
class Task:
    """One replica: its state, the worker (node name) that runs or ran it, and its exit code (negative: a signal)."""

    state: str = PENDING
    worker: str | None = None
    exit_code: int | None = None


class Tasks:
    """The state machine.

        event                      task                                             job
        run                        PENDING → RUNNING                                RUNNING
        exit 0                     SUCCEEDED                                        SUCCEEDED once all have
        exit other than 0          FAILED; those waiting: STOPPED                   ending; FAILED once all have ended
        lose, budget left          → PENDING; gang: all of them                     PENDING once nothing runs
        lose, no budget left       FAILED; those waiting: STOPPED                   ending; FAILED, with the host's name
        stop                       those waiting: STOPPED                           ending; STOPPED once all have ended
        exit or loss while ending  STOPPED (exit 0: SUCCEEDED)

    Args:
        replicas: how many there are.
        gang: whether a lost one takes all others with it.
        retries: how many losses the job survives.
    """

    def __init__(self, replicas: int, *, gang: bool, retries: int) -> None:
        self.tasks = [Task() for _ in range(replicas)]
        self.reason = "is being placed"
        self.can_be_scheduled = True
        self._gang = gang
        self._retries = retries
        self._losses = 0
        self._note = ""
        self._end: tuple[str, str, int | None] | None = None

    @property
    def is_ending(self) -> bool:
        """Whether it failed or was stopped: nothing of it starts any more, and what runs is to be ended."""
        return self._end is not None

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it will change any more."""
        return all(task.state in _ENDED for task in self.tasks)

    @property
    def waiting(self) -> list[int]:
        """The indexes of the tasks that wait."""
        return [index for index, task in enumerate(self.tasks) if task.state == PENDING]

    @property
    def process_exit_code(self) -> int:
        """What the driver exits with: Ray makes SUCCEEDED of 0 and FAILED of all else."""
        if self._end is None:
            return 0
        code = self._end[2]
        if code is None:
            return 1
        return _SIGNAL_EXIT_CODE - code if code < 0 else min(code, _MOST_EXIT_CODE)

    def run(self, index: int, worker: str) -> None:
        """A task has started on a worker."""
        self.tasks[index] = Task(RUNNING, worker)

    def exit(self, index: int, exit_code: int) -> None:
        """A task's process has ended."""
        task = self.tasks[index]
        task.exit_code = exit_code
        if exit_code == 0:
            task.state = SUCCEEDED
        elif self.is_ending:
            task.state = STOPPED
        else:
            task.state = FAILED
            self._begin_end(FAILED, f"task {index} on {task.worker} {_ending(exit_code)}", exit_code)

    def lose(self, index: int, how: str) -> bool:
        """A task has gone with its host, or its host's Ray worker; `how` says it in words that name the host.

        Returns:
            whether it (a gang: every task) runs again. Those of a gang that still run are then to be ended first.
        """
        task = self.tasks[index]
        if self.is_ending:
            task.state = STOPPED
            return False
        self._losses += 1
        if self._losses <= self._retries:
            self._note = f"{how}; runs again ({self._losses} of {self._retries} retries)"
            if self._gang:
                self.tasks = [Task() for _ in self.tasks]
            else:
                self.tasks[index] = Task()
            return True
        task.state = FAILED
        tried = f" after {_count(self._retries, 'retry', 'retries')}" if self._retries else ""
        self._begin_end(FAILED, f"{how}{tried}", None)
        return False

    def fail(self, message: str) -> None:
        """The job cannot go on, for a reason that is none of its tasks'."""
        self._begin_end(FAILED, message, None)

    def stop(self) -> None:
        """It is to be ended."""
        self._begin_end(STOPPED, "Job was intentionally stopped.", None)

    def waits(self, reason: str, *, can_be_scheduled: bool) -> None:
        """Why what waits does, and whether the cluster could run it if it were idle."""
        self.reason = reason
        self.can_be_scheduled = can_be_scheduled

    def report(self) -> dict[str, Any]:
        """It all as JSON: `status`, `message`, `exit_code`, `pending_reason`, `can_be_scheduled`, and `tasks`: state, worker, exit code."""
        status, message, exit_code = self._job()
        return {
            "status": status,
            "message": message,
            "exit_code": exit_code,
            "pending_reason": self._noted(self.reason),
            "can_be_scheduled": self.can_be_scheduled,
            "tasks": [[task.state, task.worker, task.exit_code] for task in self.tasks],
        }

    def _job(self) -> tuple[str, str, int | None]:
        if self.has_ended:
            return self._end or (SUCCEEDED, "Job finished successfully.", 0)
        if self._end is not None:
            return RUNNING, f"{self._end[1].removesuffix('.')}; its other tasks are being ended", None
        if all(task.state == PENDING for task in self.tasks):
            return PENDING, f"Job {self._noted(self.reason)}.", None
        return RUNNING, "Job is currently running.", None

    def _noted(self, text: str) -> str:
        return f"{text} ({self._note})" if self._note else text

    def _begin_end(self, status: str, message: str, exit_code: int | None) -> None:
        if self._end is None:
            self._end = (status, message, exit_code)
        for task in self.tasks:
            if task.state == PENDING:
                task.state = STOPPED


def _ending(exit_code: int) -> str:
    if exit_code >= 0:
        return f"exited with {exit_code}"
    try:
        return f"was ended by {signal.Signals(-exit_code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was ended by signal {-exit_code}"


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
