from __future__ import annotations

import pytest

from iris_adapters.controller.ray_job.tasks import FAILED, PENDING, RUNNING, STOPPED, SUCCEEDED, Tasks


def running(replicas: int = 2, *, gang: bool = False, retries: int = 0) -> Tasks:
    tasks = Tasks(replicas, gang=gang, retries=retries)
    for index in range(replicas):
        tasks.run(index, f"w{index}")
    return tasks


def states(tasks: Tasks) -> list[str]:
    return [task.state for task in tasks.tasks]


def test_all_succeed() -> None:
    """The job is over when the last one is, and the driver exits with 0."""
    tasks = running()
    tasks.exit(0, 0)
    before = tasks.has_ended
    tasks.exit(1, 0)

    assert (before, tasks.has_ended) == (False, True)
    assert tasks.report() == {
        "status": SUCCEEDED,
        "message": "Job finished successfully.",
        "exit_code": 0,
        "pending_reason": "is being placed",
        "can_be_scheduled": True,
        "tasks": [[SUCCEEDED, "w0", 0], [SUCCEEDED, "w1", 0]],
    }
    assert tasks.process_exit_code == 0


@pytest.mark.parametrize(
    ("exit_code", "words", "process_exit_code"),
    [(3, "exited with 3", 3), (-9, "was ended by SIGKILL", 137), (-40, "was ended by signal 40", 168)],
)
def test_one_that_fails_ends_the_job(exit_code: int, words: str, process_exit_code: int) -> None:
    """Those that wait are not started, those that run are to be ended, and the message names the first that failed."""
    tasks = Tasks(3, gang=False, retries=5)
    tasks.run(0, "w0")
    tasks.run(1, "w1")

    tasks.exit(1, exit_code)

    assert (tasks.is_ending, tasks.has_ended) == (True, False)
    assert states(tasks) == [RUNNING, FAILED, STOPPED]
    assert tasks.report()["message"] == f"task 1 on w1 {words}; its other tasks are being ended"
    tasks.exit(0, -15)
    assert tasks.report()["status"] == FAILED
    assert (tasks.report()["message"], tasks.report()["exit_code"]) == (f"task 1 on w1 {words}", exit_code)
    assert states(tasks) == [STOPPED, FAILED, STOPPED]
    assert tasks.process_exit_code == process_exit_code


def test_a_lost_host_without_budget_fails_the_job_with_its_name() -> None:
    """The message is what the driver says of the host."""
    tasks = running(gang=True)

    assert not tasks.lose(1, "task 1 lost its host w1")

    tasks.exit(0, -15)
    report = tasks.report()
    assert (report["status"], report["message"], report["exit_code"]) == (FAILED, "task 1 lost its host w1", None)
    assert tasks.process_exit_code == 1


def test_a_gang_runs_again_as_a_whole_within_its_budget() -> None:
    """After a loss all of it waits, with the reason; the second loss is one too many."""
    tasks = running(gang=True, retries=1)
    tasks.exit(0, 0)

    assert tasks.lose(1, "task 1 lost its host w1")

    assert states(tasks) == [PENDING, PENDING]
    tasks.waits("needs 2 hosts", can_be_scheduled=False)
    note = "needs 2 hosts (task 1 lost its host w1; runs again (1 of 1 retries))"
    assert tasks.report()["pending_reason"] == note
    assert (tasks.report()["status"], tasks.report()["message"]) == (PENDING, f"Job {note}.")
    tasks.run(0, "w2")
    tasks.run(1, "w3")
    assert not tasks.lose(0, "task 0 lost its host w2")
    assert states(tasks) == [FAILED, RUNNING]
    tasks.exit(1, -15)
    assert tasks.report()["message"] == "task 0 lost its host w2 after 1 retry"


def test_a_replica_that_is_no_gangs_runs_again_alone() -> None:
    """The others go on."""
    tasks = running(retries=1)

    assert tasks.lose(0, "task 0 lost its host w0")

    assert states(tasks) == [PENDING, RUNNING]
    assert tasks.waiting == [0]


def test_a_stopped_job_ends_as_stopped() -> None:
    """What waits is not started; what then succeeds has succeeded; the driver's exit code is not looked at by Ray."""
    tasks = Tasks(3, gang=False, retries=0)
    tasks.run(0, "w0")
    tasks.run(1, "w1")

    tasks.stop()
    tasks.exit(0, 0)
    assert not tasks.lose(1, "task 1 lost its host w1")

    assert states(tasks) == [SUCCEEDED, STOPPED, STOPPED]
    assert (tasks.report()["status"], tasks.report()["message"]) == (STOPPED, "Job was intentionally stopped.")


def test_a_job_that_waits_and_is_stopped_has_ended() -> None:
    """Nothing of it ever ran."""
    tasks = Tasks(2, gang=True, retries=0)

    tasks.stop()

    assert tasks.has_ended
    assert tasks.report()["status"] == STOPPED


def test_a_job_that_cannot_go_on_says_why() -> None:
    """For reasons that are none of its tasks'."""
    tasks = Tasks(1, gang=False, retries=0)

    tasks.fail("its replicas cannot be started: no")

    assert (tasks.report()["status"], tasks.report()["message"]) == (FAILED, "its replicas cannot be started: no")
