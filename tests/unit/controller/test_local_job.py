from __future__ import annotations

from iris_adapters.controller.job_log import JobLog
from iris_adapters.controller.local_job import LocalJob
from iris_adapters.controller.scheduling import Verdict
from iris_adapters.controller.wire import JobRequest, JobStatus

PENDING, RUNNING, STOPPED = JobStatus.PENDING, JobStatus.RUNNING, JobStatus.STOPPED
SUCCEEDED, FAILED = JobStatus.SUCCEEDED, JobStatus.FAILED


def job(replicas: int = 1) -> LocalJob:
    return LocalJob("j", JobRequest(entrypoint="true", replicas=replicas), 1000, JobLog(1000))


def states(of: LocalJob) -> list[JobStatus]:
    return [task.state for task in of.task_infos()]


def test_a_new_job_is_pending() -> None:
    """Before anything is placed the job and its tasks wait, and say why."""
    new = job(2)
    new.verdict = Verdict("needs 2 suns", can_be_scheduled=False)

    assert (new.info().status, new.info().message) == (PENDING, "Job needs 2 suns.")
    assert [(task.pending_reason, task.can_be_scheduled) for task in new.task_infos()] == [("needs 2 suns", False)] * 2
    assert (new.info().start_time_ms, new.info().end_time_ms) == (1000, None)


def test_a_job_succeeds_when_all_its_tasks_have() -> None:
    """One of two tasks that exits with 0 does not end the job; the second does."""
    two = job(2)
    two.place(0, "w0")
    two.place(1, "w1")
    two.exit(0, 0, 2000)
    assert two.info().status is RUNNING

    two.exit(1, 0, 3000)

    assert (two.info().status, two.info().end_time_ms, two.info().exit_code) == (SUCCEEDED, 3000, 0)
    assert [task.worker_id for task in two.task_infos()] == ["w0", "w1"]


def test_a_running_task_says_nothing_about_waiting() -> None:
    """The verdict of the job's waiting tasks does not show on those that run."""
    half = job(2)
    half.verdict = Verdict("no room", can_be_scheduled=True)
    half.place(0, "w0")

    assert [task.pending_reason for task in half.task_infos()] == ["", "no room"]
    assert half.info().status is RUNNING


def test_a_failing_task_fails_the_job_once_the_others_have_ended() -> None:
    """Waiting tasks are dropped at once, running ones are to be ended, and the job keeps the first failure's words and code."""
    three = job(3)
    three.place(0, "w0")
    three.place(1, "w1")

    three.exit(1, 3, 2000)
    assert three.is_ending
    assert three.info().status is RUNNING
    assert states(three) == [RUNNING, FAILED, STOPPED]

    three.exit(0, -15, 3000)
    assert states(three) == [STOPPED, FAILED, STOPPED]
    assert (three.info().status, three.info().message) == (FAILED, "task 1 on w1 exited with 3")
    assert (three.info().exit_code, three.info().end_time_ms) == (3, 3000)


def test_a_signal_is_named() -> None:
    """A task that a signal ended says which."""
    one = job()
    one.place(0, "w0")
    one.exit(0, -9, 2000)

    assert one.info().message == "task 0 on w0 was ended by SIGKILL"


def test_a_pending_job_that_is_stopped_has_ended() -> None:
    """Nothing runs, so nothing is waited for; stopping again changes nothing."""
    waiting = job(2)

    assert waiting.stop("enough", 2000)
    assert not waiting.stop("again", 3000)
    assert (waiting.info().status, waiting.info().message, waiting.info().end_time_ms) == (STOPPED, "enough", 2000)


def test_a_running_job_that_is_stopped_ends_with_its_tasks() -> None:
    """It is ending at once and STOPPED when its tasks have exited; a task that exits with 0 meanwhile has succeeded."""
    two = job(2)
    two.place(0, "w0")
    two.place(1, "w1")
    assert two.stop("enough", 2000)
    assert (two.is_ending, two.info().status) == (True, RUNNING)

    two.exit(0, -15, 3000)
    two.exit(1, 0, 4000)

    assert (two.info().status, two.info().exit_code) == (STOPPED, None)
    assert states(two) == [STOPPED, SUCCEEDED]


def test_a_failure_is_not_hidden_by_a_stop() -> None:
    """A job that failed before it was stopped has failed."""
    two = job(2)
    two.place(0, "w0")
    two.place(1, "w1")
    two.exit(0, 1, 2000)
    two.stop("enough", 2500)
    two.exit(1, -15, 3000)

    assert two.info().status is FAILED


def test_a_task_that_cannot_start_fails_the_job() -> None:
    """The job says which task, where, and why."""
    one = job()
    one.place(0, "w0")
    one.fail_to_start(0, "Argument list too long", 2000)

    assert one.info().status is FAILED
    assert one.info().message == "task 0 could not be started on w0: Argument list too long"
