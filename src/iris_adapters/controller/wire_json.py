"""The wire types as JSON, both ways. Whatever cannot be read is a `JobApiError` that names the field."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from iris_adapters.controller.wire import (
    ACCELERATOR_KEY,
    COSCHEDULED_KEY,
    CPUS_KEY,
    REPLICAS_KEY,
    RESOURCES_KEY,
    RETRIES_KEY,
    SLICE_KEY,
    ApiVersion,
    JobInfo,
    JobRequest,
    JobStatus,
    TaskInfo,
)
from iris_core.errors import JobApiError

# The fields of Ray's JobSubmitRequest. What this controller cannot do is refused unless it is empty or zero.
_REQUEST_FIELDS = frozenset(
    {
        "entrypoint",
        "submission_id",
        "job_id",
        "runtime_env",
        "metadata",
        "entrypoint_num_cpus",
        "entrypoint_num_gpus",
        "entrypoint_memory",
        "entrypoint_resources",
        "entrypoint_label_selector",
    }
)
_UNSUPPORTED_FIELDS = ("entrypoint_num_gpus", "entrypoint_memory", "entrypoint_resources", "entrypoint_label_selector")
_UNSUPPORTED_KEYS = (RESOURCES_KEY, SLICE_KEY, ACCELERATOR_KEY)
IRIS_CONTROLLER = "iris"
"""What the local controller calls itself in GET /api/version; a Ray cluster says nothing there."""

_BOOLEANS = {"true": True, "false": False}


def request_to_json(request: JobRequest) -> dict[str, Any]:
    """The body of POST /api/jobs/, without any field that a Ray cluster would refuse."""
    body: dict[str, Any] = {
        "entrypoint": request.entrypoint,
        "metadata": {**request.metadata, **_own_metadata(request)},
        "runtime_env": {"env_vars": dict(request.env)} if request.env else {},
    }
    if request.job_id is not None:
        body["submission_id"] = request.job_id
    return body


def _own_metadata(request: JobRequest) -> dict[str, str]:
    own = {
        REPLICAS_KEY: str(request.replicas),
        CPUS_KEY: str(request.cpus_per_replica),
        COSCHEDULED_KEY: "true" if request.coscheduled else "false",
    }
    if request.resources_per_replica:
        own[RESOURCES_KEY] = json.dumps(dict(request.resources_per_replica))
    if request.slice_name is not None:
        own[SLICE_KEY] = request.slice_name
    if request.accelerator_type is not None:
        own[ACCELERATOR_KEY] = request.accelerator_type
    if request.retries:
        own[RETRIES_KEY] = str(request.retries)
    return own


def request_from_json(value: object) -> JobRequest:
    """Read the body of POST /api/jobs/, from our client or Ray's.

    Raises:
        JobApiError: it is not a request, or asks for what the local controller does not have.
    """
    body = {key: item for key, item in _mapping(value, "the body").items() if item is not None}
    unknown = sorted(body.keys() - _REQUEST_FIELDS)
    if unknown:
        raise JobApiError(f"unknown field: {', '.join(unknown)[:200]}")
    for name in _UNSUPPORTED_FIELDS:
        if body.get(name):
            raise JobApiError(
                f"{name} is not supported by the local controller: its workers offer CPUs and nothing else"
            )
    metadata = _strings(body.get("metadata", {}), "metadata")
    for key in _UNSUPPORTED_KEYS:
        if key in metadata:
            raise JobApiError(
                f"metadata {key} is not supported by the local controller: its workers offer CPUs, and are of no slice"
            )
    job_id = body.get("submission_id", body.get("job_id"))
    return JobRequest(
        entrypoint=_string(body.get("entrypoint"), "entrypoint"),
        job_id=None if job_id is None else _string(job_id, "submission_id"),
        env=_environment(_mapping(body.get("runtime_env", {}), "runtime_env")),
        replicas=_whole_number(metadata.pop(REPLICAS_KEY, "1"), REPLICAS_KEY),
        cpus_per_replica=_cpus(metadata.pop(CPUS_KEY, None), body.get("entrypoint_num_cpus")),
        coscheduled=_coscheduled(metadata.pop(COSCHEDULED_KEY, "false")),
        retries=_whole_number(metadata.pop(RETRIES_KEY, "0"), RETRIES_KEY),
        metadata=metadata,
    )


def info_to_json(info: JobInfo) -> dict[str, Any]:
    """A job as Ray's JobDetails: what GET /api/jobs/{id} answers."""
    return {
        "type": "SUBMISSION",
        "job_id": None,
        "submission_id": info.job_id,
        "driver_info": None,
        "status": info.status.value,
        "entrypoint": info.entrypoint,
        "message": info.message,
        "error_type": None,
        "start_time": info.start_time_ms,
        "end_time": info.end_time_ms,
        "metadata": dict(info.metadata),
        "runtime_env": dict(info.runtime_env),
        "driver_agent_http_address": None,
        "driver_node_id": None,
        "driver_exit_code": info.exit_code,
    }


def info_from_json(value: object) -> JobInfo:
    """Read one of Ray's JobDetails.

    Raises:
        JobApiError: it is none.
    """
    body = _mapping(value, "the job")
    return JobInfo(
        job_id=_string(body.get("submission_id"), "submission_id"),
        status=_status(body.get("status"), "status"),
        entrypoint=_string(body.get("entrypoint"), "entrypoint"),
        message=_string(body.get("message") or "", "message"),
        start_time_ms=_integer_or_none(body.get("start_time"), "start_time"),
        end_time_ms=_integer_or_none(body.get("end_time"), "end_time"),
        metadata=_strings(body.get("metadata") or {}, "metadata"),
        runtime_env=_mapping(body.get("runtime_env") or {}, "runtime_env"),
        exit_code=_integer_or_none(body.get("driver_exit_code"), "driver_exit_code"),
    )


def infos_from_json(value: object) -> list[JobInfo]:
    """Read what GET /api/jobs/ answers.

    Raises:
        JobApiError: it is not such a list.
    """
    return [info_from_json(item) for item in submitted_jobs(value)]


def submitted_jobs(value: object) -> list[object]:
    """The items of what GET /api/jobs/ answers. A Ray cluster also lists drivers that nobody submitted as jobs: they are left out.

    Raises:
        JobApiError: it is not such a list.
    """
    if not isinstance(value, list):
        raise JobApiError("the list of jobs is not a list")
    return [item for item in value if not (isinstance(item, dict) and item.get("type") == "DRIVER")]


def state_from_json(value: object) -> list[dict[str, Any]]:
    """Read what one of the lists of Ray's State API (`/api/v0/nodes`) answers.

    Raises:
        JobApiError: it is not such a list.
    """
    data = _mapping(_mapping(value, "the answer").get("data"), "data")
    items = _mapping(data.get("result"), "result").get("result")
    if not isinstance(items, list):
        raise JobApiError("the list of states is not a list")
    return [_mapping(item, "a state") for item in items]


def report_from_json(value: object) -> dict[str, Any]:
    """Read a driver's report (`ray_job.tasks.Tasks.report`).

    Raises:
        JobApiError: it is none.
    """
    report = _mapping(value, "the report")
    _status(report.get("status"), "status")
    _string(report.get("message"), "message")
    _string(report.get("pending_reason"), "pending_reason")
    _boolean(report.get("can_be_scheduled"), "can_be_scheduled")
    _integer_or_none(report.get("exit_code"), "exit_code")
    if not isinstance(report.get("tasks"), list):
        raise JobApiError("the list of tasks is not a list")
    for item in report["tasks"]:
        if not (isinstance(item, list) and len(item) == 3):  # noqa: PLR2004 - state, worker, exit code
            raise JobApiError("a task is not a list of state, worker and exit code")
        _status(item[0], "a task's state")
    return report


def task_to_json(task: TaskInfo) -> dict[str, Any]:
    """One of the items of GET /api/jobs/{id}/tasks."""
    return {
        "index": task.index,
        "state": task.state.value,
        "pending_reason": task.pending_reason,
        "can_be_scheduled": task.can_be_scheduled,
        "worker_id": task.worker_id,
        "exit_code": task.exit_code,
    }


def tasks_from_json(value: object) -> list[TaskInfo]:
    """Read what GET /api/jobs/{id}/tasks answers.

    Raises:
        JobApiError: it is not such an answer.
    """
    items = _mapping(value, "the answer").get("tasks")
    if not isinstance(items, list):
        raise JobApiError("the list of tasks is not a list")
    return [_task_from_json(_mapping(item, "a task")) for item in items]


def version_to_json(version: ApiVersion) -> dict[str, Any]:
    """What GET /api/version answers: Ray's four fields and whose controller it is."""
    return {
        "version": version.version,
        "ray_version": version.ray_version,
        "ray_commit": "",
        "session_name": version.session_name,
        "controller": version.controller,
    }


def version_from_json(value: object) -> ApiVersion:
    """Read what GET /api/version answers; Ray itself does not say `controller`.

    Raises:
        JobApiError: it is not such an answer.
    """
    body = _mapping(value, "the answer")
    return ApiVersion(
        version=_string(body.get("version"), "version"),
        ray_version=_string(body.get("ray_version"), "ray_version"),
        session_name=_string(body.get("session_name") or "", "session_name"),
        controller=_string(body.get("controller", "ray"), "controller"),
    )


def job_path(job_id: str, rest: str = "") -> str:
    """The path of a job's route."""
    path = f"/api/jobs/{quote(job_id, safe='')}"
    return f"{path}/{rest}" if rest else path


def text_field(value: object, name: str) -> str:
    """The string `name` of a JSON object.

    Raises:
        JobApiError: it is not there, or not a string.
    """
    return _string(_mapping(value, "the answer").get(name), name)


def boolean_field(value: object, name: str) -> bool:
    """The boolean `name` of a JSON object.

    Raises:
        JobApiError: it is not there, or not a boolean.
    """
    return _boolean(_mapping(value, "the answer").get(name), name)


def _task_from_json(body: dict[str, Any]) -> TaskInfo:
    worker_id = body.get("worker_id")
    index = _integer_or_none(body.get("index"), "index")
    if index is None:
        raise JobApiError("index is missing")
    return TaskInfo(
        index=index,
        state=_status(body.get("state"), "state"),
        pending_reason=_string(body.get("pending_reason") or "", "pending_reason"),
        can_be_scheduled=_boolean(body.get("can_be_scheduled"), "can_be_scheduled"),
        worker_id=None if worker_id is None else _string(worker_id, "worker_id"),
        exit_code=_integer_or_none(body.get("exit_code"), "exit_code"),
    )


def _environment(runtime_env: dict[str, Any]) -> dict[str, str]:
    # Keys with an underscore are notes that Ray's client leaves for its server.
    unsupported = sorted(
        key for key in runtime_env if key != "env_vars" and not key.startswith("_") and runtime_env[key]
    )
    if unsupported:
        raise JobApiError(
            f"runtime_env: {', '.join(unsupported)[:200]} is not supported by the local controller; env_vars is"
        )
    return _strings(runtime_env.get("env_vars") or {}, "runtime_env.env_vars")


def _whole_number(text: str, key: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 9):  # noqa: PLR2004 - int() itself refuses thousands of digits
        raise JobApiError(f"metadata {key} must be a whole number, is {text[:40]!r}")
    return int(text)


def _cpus(text: str | None, entrypoint_num_cpus: object) -> float:
    if text is None:
        # Ray's client may ask for 0 CPUs, by which Ray means "not counted"; here every replica counts.
        if isinstance(entrypoint_num_cpus, bool) or not isinstance(entrypoint_num_cpus, int | float | None):
            raise JobApiError("entrypoint_num_cpus must be a number")
        return float(entrypoint_num_cpus or 1.0)
    try:
        return float(text)
    except ValueError as error:
        raise JobApiError(f"metadata {CPUS_KEY} must be a number, is {text[:40]!r}") from error


def _coscheduled(text: str) -> bool:
    if text not in _BOOLEANS:
        raise JobApiError(f"metadata {COSCHEDULED_KEY} must be true or false, is {text[:40]!r}")
    return _BOOLEANS[text]


def _mapping(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise JobApiError(f"{name} must be a JSON object")
    return value


def _strings(value: object, name: str) -> dict[str, str]:
    return {key: _string(item, f"{name}.{key}") for key, item in _mapping(value, name).items()}


def _string(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise JobApiError(f"{name} must be a string")
    return value


def _boolean(value: object, name: str) -> bool:
    if not isinstance(value, bool):
        raise JobApiError(f"{name} must be true or false")
    return value


def _integer_or_none(value: object, name: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise JobApiError(f"{name} must be a whole number")
    return value


def _status(value: object, name: str) -> JobStatus:
    try:
        return JobStatus(_string(value, name))
    except ValueError as error:
        raise JobApiError(f"{name} is not one that Ray's Jobs API has: {str(value)[:40]!r}") from error
