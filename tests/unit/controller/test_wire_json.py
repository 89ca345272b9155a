from __future__ import annotations

import json
from typing import Any

import pytest

from iris_adapters.controller import wire_json
from iris_adapters.controller.wire import ApiVersion, JobInfo, JobStatus, TaskInfo
from iris_core.errors import JobApiError


def over_the_wire(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_a_job_comes_back_from_the_wire_as_it_was() -> None:
    """Everything in a job survives writing and reading."""
    info = JobInfo(
        job_id="j",
        status=JobStatus.FAILED,
        entrypoint="false",
        message="task 0 exited with 1",
        start_time_ms=1,
        end_time_ms=2,
        metadata={"a": "b"},
        runtime_env={"env_vars": {"SECRET": "hush"}},
        exit_code=1,
    )

    assert wire_json.info_from_json(over_the_wire(wire_json.info_to_json(info))) == info
    assert "hush" not in repr(info)


def test_tasks_come_back_from_the_wire_as_they_were() -> None:
    """Everything in a task survives writing and reading."""
    tasks = [
        TaskInfo(index=0, state=JobStatus.SUCCEEDED, worker_id="w0", exit_code=0),
        TaskInfo(index=1, state=JobStatus.PENDING, pending_reason="no room", can_be_scheduled=False),
    ]

    answer = over_the_wire({"tasks": [wire_json.task_to_json(task) for task in tasks]})

    assert wire_json.tasks_from_json(answer) == tasks


def test_drivers_that_nobody_submitted_are_left_out() -> None:
    """A Ray cluster lists its drivers among the jobs; they have no submission id and are no jobs here."""
    driver = {"type": "DRIVER", "job_id": "01000000", "submission_id": None, "status": "RUNNING", "entrypoint": ""}
    job = wire_json.info_to_json(JobInfo(job_id="j", status=JobStatus.RUNNING, entrypoint="true"))

    assert [info.job_id for info in wire_json.infos_from_json([driver, job])] == ["j"]


def test_the_version_says_whose_controller_it_is() -> None:
    """Ours says so; an answer without that word is a Ray cluster's."""
    ours = ApiVersion(version="4", ray_version="2.60.0", session_name="s", controller="iris")
    rays = {"version": "4", "ray_version": "2.52.0", "ray_commit": "abc", "session_name": "session_1"}

    assert wire_json.version_from_json(wire_json.version_to_json(ours)) == ours
    assert wire_json.version_from_json(rays).controller == "ray"


@pytest.mark.parametrize("answer", [None, [], "text", {"status": "DONE"}, {"submission_id": "j", "status": "DONE"}])
def test_what_is_no_job_is_an_error(answer: object) -> None:
    """An answer that is not a job, or has a status nobody knows, is a JobApiError and not a crash."""
    with pytest.raises(JobApiError):
        wire_json.info_from_json(answer)
