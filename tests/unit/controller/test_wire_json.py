from __future__ import annotations

import json
from typing import Any

import pytest

from iris_adapters.controller import wire_json
from iris_adapters.controller.wire import ApiVersion, JobInfo, JobRequest, JobStatus, TaskInfo
from iris_core.errors import JobApiError

REQUEST = JobRequest(
    entrypoint="python train.py",
    job_id="train-1",
    env={"A": "1"},
    replicas=4,
    cpus_per_replica=0.5,
    coscheduled=True,
    metadata={"owner": "me"},
)


def over_the_wire(value: Any) -> Any:
    return json.loads(json.dumps(value))


def test_a_request_comes_back_from_the_wire_as_it_was() -> None:
    """Everything in a request survives writing and reading."""
    assert wire_json.request_from_json(over_the_wire(wire_json.request_to_json(REQUEST))) == REQUEST


def test_a_request_has_only_fields_that_ray_knows() -> None:
    """What Ray has no field for travels as strings in its metadata; a Ray cluster refuses unknown fields."""
    assert wire_json.request_to_json(REQUEST) == {
        "entrypoint": "python train.py",
        "submission_id": "train-1",
        "runtime_env": {"env_vars": {"A": "1"}},
        "metadata": {
            "owner": "me",
            "iris.replicas": "4",
            "iris.cpus_per_replica": "0.5",
            "iris.coscheduled": "true",
        },
    }


def test_rays_own_request_is_one_replica() -> None:
    """A body as Ray's client sends it, nulls and zeros included, is a job of one replica with one CPU."""
    body = {"entrypoint": "true", "runtime_env": {}, "metadata": {}, "entrypoint_num_gpus": 0, "submission_id": None}

    assert wire_json.request_from_json(body) == JobRequest(entrypoint="true")


@pytest.mark.parametrize(("asked", "counted"), [(2, 2.0), (0.5, 0.5), (0, 1.0)])
def test_rays_cpus_are_those_of_the_replica(asked: float, counted: float) -> None:
    """entrypoint_num_cpus counts where our own key is missing; 0, Ray's "not counted", is one CPU here."""
    body = {"entrypoint": "true", "entrypoint_num_cpus": asked}

    assert wire_json.request_from_json(body).cpus_per_replica == counted


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"entrypoint": None}, "entrypoint must be a string"),
        ({"entrypoint": 1}, "entrypoint must be a string"),
        ({"entrypoint": " "}, "entrypoint must not be empty"),
        ({"entrypoint": "a\0b"}, "NUL"),
        ({"entrypoint": "\ud800"}, "UTF-8"),
        ({"entrypiont": "x"}, "unknown field: entrypiont"),
        ({"submission_id": "../x"}, "job id"),
        ({"submission_id": "x" * 129}, "job id"),
        ({"submission_id": 7}, "submission_id must be a string"),
        ({"metadata": {"a": 1}}, r"metadata\.a must be a string"),
        ({"metadata": {"iris.replica": "2"}}, r"iris\.replica'"),
        ({"metadata": {"iris.replicas": "0"}}, "replicas must be 1 to"),
        ({"metadata": {"iris.replicas": "-1"}}, "whole number"),
        ({"metadata": {"iris.replicas": "10001"}}, "replicas must be 1 to"),
        ({"metadata": {"iris.replicas": "9" * 5000}}, "whole number"),
        ({"metadata": {"iris.cpus_per_replica": "nan"}}, "cpus_per_replica must be more than 0"),
        ({"metadata": {"iris.cpus_per_replica": "many"}}, "must be a number"),
        ({"metadata": {"iris.coscheduled": "yes"}}, "true or false"),
        ({"entrypoint_num_cpus": True}, "must be a number"),
        ({"entrypoint_num_cpus": "1"}, "must be a number"),
        ({"entrypoint_num_gpus": 1}, "entrypoint_num_gpus is not supported"),
        ({"entrypoint_resources": {"TPU": 4}}, "entrypoint_resources is not supported"),
        ({"runtime_env": {"pip": ["x"]}}, "pip is not supported"),
        ({"runtime_env": {"env_vars": {"A": 1}}}, r"env_vars\.A must be a string"),
        ({"runtime_env": {"env_vars": {"A=B": "1"}}}, "name of an environment variable"),
        ({"runtime_env": {"env_vars": {"": "1"}}}, "name of an environment variable"),
        ({"runtime_env": {"env_vars": {"A": "\0"}}}, "NUL"),
        ({"runtime_env": []}, "runtime_env must be a JSON object"),
    ],
)
def test_a_wrong_request_is_refused_with_its_reason(change: dict[str, Any], problem: str) -> None:
    """Each mistake is a JobApiError that names the field."""
    with pytest.raises(JobApiError, match=problem):
        wire_json.request_from_json({"entrypoint": "true", **change})


def test_a_request_must_be_an_object() -> None:
    """A JSON list is no request."""
    with pytest.raises(JobApiError, match="must be a JSON object"):
        wire_json.request_from_json([])


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
