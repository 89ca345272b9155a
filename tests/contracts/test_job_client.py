"""What the job client must do with every controller. See `job_client_cases` for these, and docs/job-api.md for where they differ."""

from __future__ import annotations

import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from iris_adapters.controller.client import JobClient
from iris_adapters.controller.wire import JobRequest, JobStatus
from iris_core.errors import JobApiError
from tests.contracts.job_client_cases import (
    CPUS,
    JobCase,
    ended,
    is_held,
    local_case,
    ray_case,
    tasks_when,
    wait_for,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def case(request: pytest.FixtureRequest) -> Iterator[JobCase]:
    if request.param == "local":
        yield from local_case()
    else:
        yield ray_case(request.getfixturevalue("ray_cluster"))


@pytest.fixture(scope="module")
def client(case: JobCase) -> Iterator[JobClient]:
    with case.client() as made:
        yield made


@pytest.mark.timeout(240)
def test_a_job_runs_and_its_log_is_followed_and_read(client: JobClient) -> None:
    """Its environment arrives untouched, every line comes once and in order, in whatever bytes, and it has succeeded."""
    script = """\
echo "hello $NAME"; echo 'to stderr' >&2
echo "$IRIS_JOB_ID $IRIS_TASK_INDEX $IRIS_NUM_TASKS"
printf 'caf\\303\\251 \\377\\n\\n'
head -c 70000 /dev/zero | tr '\\0' x; echo
seq 1 5000
printf 'no line end'"""
    name = 'it\'s $HOME "quoted" and ${braced}\nin two lines'

    job_id = client.submit(JobRequest(entrypoint=script, env={"NAME": name}, metadata={"owner": "me"}))

    lines = list(client.follow(job_id))
    expected = [*f"hello {name}".split("\n"), "to stderr", f"{job_id} 0 1", "café \ufffd", "", "x" * 65536, "x" * 4464]
    assert lines[:8] == expected
    assert lines[8:] == [*map(str, range(1, 5001)), "no line end"]
    assert client.logs(job_id).splitlines() == lines
    info = ended(client, job_id)
    assert (info.status, info.exit_code, info.message) == (JobStatus.SUCCEEDED, 0, "Job finished successfully.")
    assert (info.job_id, info.entrypoint, info.metadata["owner"]) == (job_id, script, "me")
    assert info.runtime_env == {"env_vars": {"NAME": name}}
    assert info.start_time_ms is not None
    assert info.end_time_ms is not None
    assert info.start_time_ms <= info.end_time_ms
    [task] = client.tasks(job_id)
    assert (task.index, task.state, task.exit_code, task.pending_reason) == (0, JobStatus.SUCCEEDED, 0, "")


@pytest.mark.timeout(240)
def test_lines_come_while_the_job_runs(client: JobClient, tmp_path: Path) -> None:
    """Who follows sees a line before the job has ended."""
    go = tmp_path / "go"
    job_id = client.submit(JobRequest(entrypoint=f"echo first; until [ -e {go} ]; do sleep 0.05; done; echo last"))

    with closing(client.follow(job_id)) as lines:
        assert next(lines) == "first"
        assert client.get(job_id).status is JobStatus.RUNNING
        go.touch()
        assert list(lines) == ["last"]


@pytest.mark.timeout(240)
def test_a_gang_runs_at_the_same_time_each_on_a_worker_of_its_own(
    case: JobCase, client: JobClient, tmp_path: Path
) -> None:
    """Each waits, running, for all the others' marks; their lines are told apart in the log."""
    count = case.gang_workers
    script = (
        f": > {tmp_path}/$IRIS_TASK_INDEX; until [ $(ls {tmp_path} | wc -l) = {count} ]; do sleep 0.05; done; "
        'echo "$IRIS_TASK_INDEX of $IRIS_NUM_TASKS on $IRIS_WORKER_ID"'
    )
    job_id = client.submit(JobRequest(entrypoint=script, replicas=count, coscheduled=True))

    assert ended(client, job_id).status is JobStatus.SUCCEEDED

    tasks = client.tasks(job_id)
    workers = [task.worker_id for task in tasks]
    assert len(set(workers)) == count
    assert sorted(client.logs(job_id).splitlines()) == [
        f"[task {index}] {index} of {count} on {worker}" for index, worker in enumerate(workers)
    ]


@pytest.mark.timeout(240)
def test_more_replicas_than_room_run_in_waves(client: JobClient) -> None:
    """Four replicas that fill a worker each run on three workers, one after another."""
    job_id = client.submit(JobRequest(entrypoint="echo $IRIS_TASK_INDEX", replicas=4, cpus_per_replica=CPUS))

    assert ended(client, job_id).status is JobStatus.SUCCEEDED

    assert sorted(client.logs(job_id).splitlines()) == [f"[task {index}] {index}" for index in range(4)]


@pytest.mark.timeout(240)
def test_one_failing_ends_the_others_with_all_they_started(case: JobCase, client: JobClient, tmp_path: Path) -> None:
    """The job has failed with the exit code and the place of the one that did; nothing of the others is left."""
    lock = tmp_path / "lock"
    script = (
        f"if [ $IRIS_TASK_INDEX = 0 ]; then (flock {lock} sleep 1000) & sleep 1000; fi; "
        f"until flock -n {lock} true; [ $? = 1 ]; do sleep 0.05; done; exit 3"
    )
    job_id = client.submit(JobRequest(entrypoint=script, replicas=case.gang_workers, coscheduled=True))

    info = ended(client, job_id)

    tasks = client.tasks(job_id)
    failed = next(task for task in tasks if task.state is JobStatus.FAILED)
    assert (info.status, info.exit_code) == (JobStatus.FAILED, 3)
    assert info.message == f"task {failed.index} on {failed.worker_id} exited with 3"
    assert tasks[0].state is JobStatus.STOPPED
    wait_for(lambda: not is_held(lock), "nothing of the job runs", 10)


@pytest.mark.timeout(240)
def test_a_signal_is_an_exit_code_too(client: JobClient) -> None:
    """A negative one, with the signal's name in the message."""
    job_id = client.submit(JobRequest(entrypoint="kill -KILL $$"))

    info = ended(client, job_id)

    [task] = client.tasks(job_id)
    assert (info.status, info.exit_code, task.exit_code) == (JobStatus.FAILED, -9, -9)
    assert info.message == f"task 0 on {task.worker_id} was ended by SIGKILL"


@pytest.mark.timeout(240)
def test_stopping_ends_all_processes_even_stubborn_ones(client: JobClient, tmp_path: Path) -> None:
    """SIGTERM is heard and answered, one that ignores it is killed, and a second stop has nothing to do."""
    lock = tmp_path / "lock"
    script = (
        f"(trap '' TERM; exec flock {lock} sleep 1000) & "
        f"trap 'echo heard it; exit 0' TERM; until flock -n {lock} true; [ $? = 1 ]; do sleep 0.05; done; "
        "echo up; while :; do sleep 0.1; done"
    )
    job_id = client.submit(JobRequest(entrypoint=script))
    with closing(client.follow(job_id)) as lines:
        assert next(lines) == "up"
        assert client.get(job_id).status is JobStatus.RUNNING
        assert is_held(lock)

        assert client.stop(job_id)

        assert "heard it" in list(lines)
    info = ended(client, job_id)
    assert (info.status, info.message) == (JobStatus.STOPPED, "Job was intentionally stopped.")
    wait_for(lambda: not is_held(lock), "nothing of the job runs", 10)
    assert not client.stop(job_id)


@pytest.mark.timeout(240)
def test_a_job_that_cannot_run_waits_with_a_reason_and_holds_nobody_back(client: JobClient) -> None:
    """It says what it needs and what there is; a later job runs; stopped, it has never run."""
    asked_at = time.monotonic()
    job_id = client.submit(JobRequest(entrypoint="echo ran", cpus_per_replica=64))

    [task] = tasks_when(client, job_id, lambda tasks: not tasks[0].can_be_scheduled)

    assert time.monotonic() - asked_at < 10
    assert (task.state, task.worker_id) == (JobStatus.PENDING, None)
    assert "64" in task.pending_reason
    assert client.get(job_id).status is JobStatus.PENDING
    assert client.logs(job_id) == ""
    other = client.submit(JobRequest(entrypoint="true"))
    assert ended(client, other).status is JobStatus.SUCCEEDED
    assert client.stop(job_id)
    assert ended(client, job_id).status is JobStatus.STOPPED
    [task] = client.tasks(job_id)
    assert (task.state, task.worker_id, client.logs(job_id)) == (JobStatus.STOPPED, None, "")


@pytest.mark.timeout(240)
def test_jobs_are_listed_in_their_order_and_forgotten_when_deleted(client: JobClient, tmp_path: Path) -> None:
    """A job that runs cannot be deleted; an id is taken as long as its job is remembered."""
    go = tmp_path / "go"
    first = client.submit(JobRequest(entrypoint=f"until [ -e {go} ]; do sleep 0.05; done", job_id="first"))
    second = client.submit(JobRequest(entrypoint="true"))
    tasks_when(client, first, lambda tasks: tasks[0].state is JobStatus.RUNNING)

    listed = [job.job_id for job in client.list()]
    assert listed.index(first) < listed.index(second)
    assert next(job.status for job in client.list() if job.job_id == first) is JobStatus.RUNNING
    for refused in (lambda: client.delete(first), lambda: client.submit(JobRequest(entrypoint="true", job_id=first))):
        with pytest.raises(JobApiError) as caught:
            refused()
        assert caught.value.status == 409
    go.touch()
    ended(client, first)
    assert client.delete(first)
    assert first not in [job.job_id for job in client.list()]


def test_what_is_not_there_is_not_found(client: JobClient) -> None:
    """Every question about it says so."""
    questions = (
        client.get,
        client.tasks,
        client.logs,
        client.stop,
        client.delete,
        lambda job_id: list(client.follow(job_id)),
    )
    for question in questions:
        with pytest.raises(JobApiError) as caught:
            question("no-such-job")
        assert caught.value.status == 404


@pytest.mark.parametrize(("token", "status"), [(None, 401), ("x" * 43, 403)])
def test_without_the_token_nothing_is_answered(case: JobCase, token: str | None, status: int) -> None:
    """Neither what reads nor what changes; and the token is in no message."""
    with JobClient(case.url, token) as stranger:
        questions = (
            stranger.version,
            lambda: stranger.submit(JobRequest(entrypoint="true")),
            stranger.list,
            lambda: stranger.get("x"),
            lambda: stranger.stop("x"),
        )
        for question in questions:
            with pytest.raises(JobApiError) as caught:
                question()
            assert caught.value.status == status
            assert case.token not in str(caught.value)
