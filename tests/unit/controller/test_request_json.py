from __future__ import annotations

import json
from typing import Any

import pytest

from iris_adapters.controller.request_json import request_from_json, request_to_json
from iris_adapters.controller.wire import JobRequest
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


def test_a_request_comes_back_from_the_wire_as_it_was() -> None:
    """Everything in a request survives writing and reading."""
    assert request_from_json(json.loads(json.dumps(request_to_json(REQUEST)))) == REQUEST


def test_a_request_has_only_fields_that_ray_knows() -> None:
    """What Ray has no field for travels as strings in its metadata; a Ray cluster refuses unknown fields."""
    assert request_to_json(REQUEST) == {
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

    assert request_from_json(body) == JobRequest(entrypoint="true")


@pytest.mark.parametrize(("asked", "counted"), [(2, 2.0), (0.5, 0.5), (0, 1.0)])
def test_rays_cpus_are_those_of_the_replica(asked: float, counted: float) -> None:
    """entrypoint_num_cpus counts where our own key is missing; 0, Ray's "not counted", is one CPU here."""
    body = {"entrypoint": "true", "entrypoint_num_cpus": asked}

    assert request_from_json(body).cpus_per_replica == counted


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
        request_from_json({"entrypoint": "true", **change})


def test_a_request_must_be_an_object() -> None:
    """A JSON list is no request."""
    with pytest.raises(JobApiError, match="must be a JSON object"):
        request_from_json([])
