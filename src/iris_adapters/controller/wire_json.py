"""What the job API answers as JSON, both ways. Whatever cannot be read is a `JobApiError` that names the field."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from iris_adapters.controller.json_fields import as_boolean, as_integer_or_none, as_mapping, as_string, as_strings
from iris_adapters.controller.wire import ApiVersion, JobInfo, JobStatus, TaskInfo, check_job_id
from iris_core.errors import JobApiError

IRIS_CONTROLLER = "iris"
"""What the local controller calls itself in GET /api/version; a Ray cluster says nothing there."""


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
    body = as_mapping(value, "the job")
    return JobInfo(
        job_id=as_string(body.get("submission_id"), "submission_id"),
        status=_status(body.get("status"), "status"),
        entrypoint=as_string(body.get("entrypoint"), "entrypoint"),
        message=as_string(body.get("message") or "", "message"),
        start_time_ms=as_integer_or_none(body.get("start_time"), "start_time"),
        end_time_ms=as_integer_or_none(body.get("end_time"), "end_time"),
        metadata=as_strings(body.get("metadata") or {}, "metadata"),
        runtime_env=as_mapping(body.get("runtime_env") or {}, "runtime_env"),
        exit_code=as_integer_or_none(body.get("driver_exit_code"), "driver_exit_code"),
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
    data = as_mapping(as_mapping(value, "the answer").get("data"), "data")
    items = as_mapping(data.get("result"), "result").get("result")
    if not isinstance(items, list):
        raise JobApiError("the list of states is not a list")
    return [as_mapping(item, "a state") for item in items]


def report_from_json(value: object) -> dict[str, Any]:
    """Read a driver's report (`ray_job.tasks.Tasks.report`).

    Raises:
        JobApiError: it is none.
    """
    report = as_mapping(value, "the report")
    _status(report.get("status"), "status")
    as_string(report.get("message"), "message")
    as_string(report.get("pending_reason"), "pending_reason")
    as_boolean(report.get("can_be_scheduled"), "can_be_scheduled")
    as_integer_or_none(report.get("exit_code"), "exit_code")
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
    items = as_mapping(value, "the answer").get("tasks")
    if not isinstance(items, list):
        raise JobApiError("the list of tasks is not a list")
    return [_task_from_json(as_mapping(item, "a task")) for item in items]


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
    body = as_mapping(value, "the answer")
    return ApiVersion(
        version=as_string(body.get("version"), "version"),
        ray_version=as_string(body.get("ray_version"), "ray_version"),
        session_name=as_string(body.get("session_name") or "", "session_name"),
        controller=as_string(body.get("controller", "ray"), "controller"),
    )


def job_path(job_id: str, rest: str = "") -> str:
    """The path of a job's route.

    Raises:
        JobApiError: no job can be called so.
    """
    check_job_id(job_id)
    path = f"/api/jobs/{quote(job_id, safe='')}"
    return f"{path}/{rest}" if rest else path


def _task_from_json(body: dict[str, Any]) -> TaskInfo:
    worker_id = body.get("worker_id")
    index = as_integer_or_none(body.get("index"), "index")
    if index is None:
        raise JobApiError("index is missing")
    return TaskInfo(
        index=index,
        state=_status(body.get("state"), "state"),
        pending_reason=as_string(body.get("pending_reason") or "", "pending_reason"),
        can_be_scheduled=as_boolean(body.get("can_be_scheduled"), "can_be_scheduled"),
        worker_id=None if worker_id is None else as_string(worker_id, "worker_id"),
        exit_code=as_integer_or_none(body.get("exit_code"), "exit_code"),
    )


def _status(value: object, name: str) -> JobStatus:
    try:
        return JobStatus(as_string(value, name))
    except ValueError as error:
        raise JobApiError(f"{name} is not one that Ray's Jobs API has: {str(value)[:40]!r}") from error
