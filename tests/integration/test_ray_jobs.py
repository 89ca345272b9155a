"""Jobs on a real Ray cluster: what only hosts that come and go can show. The rest is in tests/contracts/test_job_client.py."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.controller.wire import JobRequest, JobStatus
from tests.contracts.job_client_cases import ended, is_held, ray_case, tasks_when, wait_for
from tests.support.ray_cluster import ray_job_submit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iris_adapters.controller.client import JobClient
    from iris_adapters.controller.wire import TaskInfo
    from tests.support.ray_cluster import RayCluster

pytestmark = [pytest.mark.ray, pytest.mark.timeout(300)]

FIRST_REASON_SECONDS = 10  # the acceptance's, from submitting to a true reason


@pytest.fixture(scope="module")
def cluster(ray_cluster: RayCluster) -> RayCluster:
    return ray_cluster


@pytest.fixture(scope="module")
def client(cluster: RayCluster) -> Iterator[JobClient]:
    with ray_case(cluster).client() as made:
        yield made


def all_are(state: JobStatus) -> Callable[[tuple[TaskInfo, ...]], bool]:
    return lambda tasks: all(task.state is state for task in tasks)


def holding(lock: Path, then: str = "sleep 1000") -> str:
    """A command line that holds a lock of its own per replica with a process that has left its group."""
    return f"setsid flock {lock}-$IRIS_TASK_INDEX sleep 1000 & echo task $IRIS_TASK_INDEX of $IRIS_JOB_ID is up; {then}"


def locks(lock: Path, count: int) -> list[bool]:
    return [is_held(lock.with_name(f"{lock.name}-{index}")) for index in range(count)]


def test_a_job_waits_with_a_true_reason_and_runs_when_such_a_worker_joins(
    cluster: RayCluster, client: JobClient
) -> None:
    """Within 10 s it says what it needs; then a host with 8 chips joins, and runs it."""
    asked_at = time.monotonic()
    job_id = client.submit(JobRequest(entrypoint="echo $IRIS_WORKER_ID", resources_per_replica={"TPU": 8}))

    [task] = tasks_when(client, job_id, lambda tasks: bool(tasks[0].pending_reason))

    assert time.monotonic() - asked_at < FIRST_REASON_SECONDS
    assert task.state is JobStatus.PENDING
    assert task.pending_reason == "needs a host with TPU=8 and CPU=1; none of 3 offers it"
    assert not task.can_be_scheduled
    assert client.get(job_id).status is JobStatus.PENDING
    large = cluster.add_worker("large", 0, "v6e-8", chips=8)
    try:
        assert ended(client, job_id).status is JobStatus.SUCCEEDED
        assert client.logs(job_id) == "large-w0\n"
    finally:
        large.kill()


def test_a_gang_is_of_one_slice_in_the_order_of_its_hosts(cluster: RayCluster, client: JobClient) -> None:
    """Three hosts with room are no place for a gang of three if they are of two slices; two of them run a gang of two.

    What a replica prints is in the log of the container that ran it.
    """
    three = client.submit(
        JobRequest(entrypoint="true", replicas=3, coscheduled=True, resources_per_replica={"TPU": 4}, job_id="three")
    )
    two = client.submit(
        JobRequest(
            entrypoint="echo marker-$IRIS_TASK_INDEX",
            replicas=2,
            coscheduled=True,
            resources_per_replica={"TPU": 4},
            slice_name="a",
            accelerator_type="v5litepod-8",
        )
    )

    assert ended(client, two).status is JobStatus.SUCCEEDED

    assert [task.worker_id for task in client.tasks(two)] == ["a-w0", "a-w1"]
    for index in range(2):
        assert f"marker-{index}\n" in cluster.workers[f"a-w{index}"].output
        assert f"marker-{1 - index}\n" not in cluster.workers[f"a-w{index}"].output
    tasks = client.tasks(three)
    reason = "needs 3 hosts of one slice with TPU=4 and CPU=1; 2 offer it"
    assert {(task.state, task.pending_reason, task.worker_id) for task in tasks} == {(JobStatus.PENDING, reason, None)}
    assert client.stop(three)
    assert ended(client, three).status is JobStatus.STOPPED


def test_a_lost_host_fails_the_gang_by_its_name(cluster: RayCluster, client: JobClient, tmp_path: Path) -> None:
    """Without retries; nothing of the gang runs on."""
    lock = tmp_path / "lock"
    job_id = client.submit(JobRequest(entrypoint=holding(lock), replicas=2, coscheduled=True))
    tasks_when(client, job_id, all_are(JobStatus.RUNNING))
    wait_for(lambda: locks(lock, 2) == [True, True], "both run")

    cluster.workers["a-w1"].kill()
    info = ended(client, job_id)
    cluster.add_worker("a", 1, "v5litepod-8")

    assert (info.status, info.message) == (JobStatus.FAILED, "task 1 lost its host a-w1")
    assert [task.state for task in client.tasks(job_id)] == [JobStatus.STOPPED, JobStatus.FAILED]
    wait_for(lambda: locks(lock, 2) == [False, False], "nothing of the gang runs", 10)


def test_a_gang_that_lost_a_host_runs_again_as_a_whole(cluster: RayCluster, client: JobClient, tmp_path: Path) -> None:
    """With retries it waits until the host is back, never half, and says so; then it all runs, and succeeds.

    The other replica notices the loss long before Ray does, and fails, as programs do whose peer has gone: that fails no job.
    """
    lock, go = tmp_path / "lock", tmp_path / "go"
    peer = f"until ! flock -n {lock}-0 true; do sleep 0.1; done; until flock -n {lock}-0 true; do sleep 0.1; done"
    script = holding(
        lock,
        f"if [ $IRIS_TASK_INDEX = 1 ]; then {peer}; [ -e {go} ]; exit; fi; until [ -e {go} ]; do sleep 0.1; done",
    )
    job_id = client.submit(JobRequest(entrypoint=script, replicas=2, coscheduled=True, retries=1))
    tasks_when(client, job_id, all_are(JobStatus.RUNNING))
    wait_for(lambda: locks(lock, 2) == [True, True], "both run")

    cluster.workers["a-w0"].kill()

    tasks = tasks_when(client, job_id, lambda tasks: not tasks[0].can_be_scheduled)
    note = "(task 0 lost its host a-w0; runs again (1 of 1 retries))"
    assert {(task.state, task.pending_reason) for task in tasks} == {
        (JobStatus.PENDING, f"needs 2 hosts of one slice with CPU=1; 1 offers it {note}")
    }
    assert locks(lock, 2) == [False, False]
    cluster.add_worker("a", 0, "v5litepod-8")
    tasks_when(client, job_id, all_are(JobStatus.RUNNING))
    wait_for(lambda: locks(lock, 2) == [True, True], "both run again")
    go.touch()
    assert ended(client, job_id).status is JobStatus.SUCCEEDED
    lines = client.logs(job_id).splitlines()
    for index in range(2):
        assert lines.count(f"[task {index}] task {index} of {job_id} is up") == 2
    wait_for(lambda: locks(lock, 2) == [False, False], "nothing of the gang runs", 10)


def test_a_replica_that_is_no_gangs_runs_again_alone(cluster: RayCluster, client: JobClient, tmp_path: Path) -> None:
    """The others never notice; which host runs it again is Ray's choice."""
    go = tmp_path / "go"
    script = f"echo up; until [ -e {go} ]; do sleep 0.1; done"
    job_id = client.submit(JobRequest(entrypoint=script, replicas=3, cpus_per_replica=2, retries=1))
    tasks = tasks_when(client, job_id, all_are(JobStatus.RUNNING))
    lost = next(task for task in tasks if task.worker_id == "b-w0")

    cluster.workers["b-w0"].kill()
    tasks_when(client, job_id, lambda tasks: tasks[lost.index].state is JobStatus.PENDING)
    assert [task.state for task in client.tasks(job_id)].count(JobStatus.RUNNING) == 2
    cluster.add_worker("b", 0, "v5litepod-4")
    tasks_when(client, job_id, all_are(JobStatus.RUNNING))
    go.touch()

    assert ended(client, job_id).status is JobStatus.SUCCEEDED
    assert sorted(client.logs(job_id).splitlines()).count(f"[task {lost.index}] up") == 2


def test_a_driver_that_is_killed_leaves_nothing_running(client: JobClient, tmp_path: Path) -> None:
    """Ray says that the job failed, and the keepers end what it ran."""
    lock = tmp_path / "lock"
    job_id = client.submit(JobRequest(entrypoint=holding(lock), replicas=2))
    tasks_when(client, job_id, all_are(JobStatus.RUNNING))
    wait_for(lambda: locks(lock, 2) == [True, True], "both run")

    [driver] = [
        int(path.parent.name)
        for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(lock) in (words := path.read_text(errors="replace")) and words.startswith("python3\0-c")
    ]
    os.kill(driver, signal.SIGKILL)

    assert ended(client, job_id).status is JobStatus.FAILED
    assert [task.state for task in client.tasks(job_id)] == [JobStatus.FAILED] * 2
    wait_for(lambda: locks(lock, 2) == [False, False], "nothing of the job runs", 20)


def test_rays_own_tools_work_through_the_url(cluster: RayCluster, client: JobClient, tmp_path: Path) -> None:
    """`ray job submit --address URL` with the token; iris shows what it submitted as a job of one task."""
    printed = ray_job_submit(
        cluster.url, cluster.token, tmp_path, "--submission-id", "by-ray", "--", "echo", "from ray's tool"
    )

    assert "from ray's tool" in printed
    info = ended(client, "by-ray")
    assert (info.status, info.entrypoint) == (JobStatus.SUCCEEDED, "echo 'from ray'\"'\"'s tool'")
    [task] = client.tasks("by-ray")
    assert (task.state, task.worker_id, task.exit_code) == (JobStatus.SUCCEEDED, "controller", 0)
    assert "from ray's tool" in client.logs("by-ray")
    assert "from ray's tool" in list(client.follow("by-ray"))
