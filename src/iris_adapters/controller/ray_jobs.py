"""The job client's way with a Ray cluster: Ray's Jobs API runs a driver of ours, and its State API serves what the driver reports.

    submit   POST /api/jobs/, the job packed into the entrypoint's environment (`ray_job.bundle`)
    get      GET /api/jobs/{id}, and the driver's report: to Ray the job RUNS as soon as its driver does
    tasks    the driver's report; before there is one, GET /api/v0/nodes tells why the job waits

Jobs that Ray's own tools submitted are shown too: as jobs of one task, the driver.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from iris_adapters.controller import wire_json
from iris_adapters.controller.json_fields import boolean_field, text_field
from iris_adapters.controller.ray_job.bundle import VARIABLE, pack, unpack
from iris_adapters.controller.ray_job.reasons import Demand, Verdict, node_from_state, why_pending
from iris_adapters.controller.ray_job.report import BEGIN_LINE, report_name
from iris_adapters.controller.request_json import request_to_json
from iris_adapters.controller.wire import JobInfo, JobStatus, TaskInfo
from iris_adapters.controller.wire_json import job_path
from iris_core.errors import JobApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from iris_adapters.controller.http_api import Http
    from iris_adapters.controller.wire import JobRequest

_CONFLICT = 409
_BEGIN = f"{BEGIN_LINE}\n"
_MOST_NODES = "10000"  # the State API's own limit is 100 unless told


@dataclass(frozen=True)
class _Seen:
    """A job as Ray shows it.

    Attributes:
        info: with the user's command line and environment, where the job is ours.
        job: what was packed into it; None: it is not ours.
        node_id: of the node that its driver runs on or ran on; None: not yet.
    """

    info: JobInfo
    job: Mapping[str, Any] | None
    node_id: str | None


class RayJobs:
    """Implements `client.Jobs`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def submit(self, request: JobRequest) -> str:
        """Submit a job and return its id.

        Raises:
            JobApiError: 409: there is a job of that id.
        """
        job_id = request.job_id or f"job-{secrets.token_hex(6)}"
        job = {
            "job_id": job_id,
            "env": dict(request.env),
            "replicas": request.replicas,
            "resources": {"CPU": request.cpus_per_replica, **request.resources_per_replica},
            "coscheduled": request.coscheduled,
            "slice_name": request.slice_name,
            "accelerator_type": request.accelerator_type,
            "retries": request.retries,
        }
        entrypoint, env_vars = pack(job, request.entrypoint)
        body = {
            **request_to_json(request),
            "entrypoint": entrypoint,
            "submission_id": job_id,
            "runtime_env": {"env_vars": env_vars},
        }
        try:
            return self._http.read(lambda answer: text_field(answer, "submission_id"), "POST", "/api/jobs/", body)
        except JobApiError as error:
            if error.status is not None and f"submission_id {job_id} already exists" in str(error):  # Ray says 500
                raise JobApiError(
                    f"there is a job {job_id} already; choose another id or delete it", status=_CONFLICT
                ) from error
            raise

    def get(self, job_id: str) -> JobInfo:
        """The job as it is now."""
        seen = self._see(job_id)
        return _with_report(seen, self._report(seen))

    def list(self) -> Sequence[JobInfo]:
        """Every job that was submitted, oldest first. Of those that have ended the message is Ray's own."""
        jobs = self._http.read(_all_seen, "GET", "/api/jobs/")
        jobs.sort(key=lambda seen: seen.info.start_time_ms or 0)
        return [_with_report(seen, None if seen.info.status.has_ended else self._report(seen)) for seen in jobs]

    def tasks(self, job_id: str) -> Sequence[TaskInfo]:
        """The job's replicas by index."""
        seen = self._see(job_id)
        if seen.job is None:
            return [_driver_task(seen, self._nodes() if seen.node_id else [])]
        report = self._report(seen)
        if report is not None:
            return [_task(index, item, report, seen.info) for index, item in enumerate(report["tasks"])]
        status = seen.info.status
        verdict = Verdict("") if status.has_ended else self._verdict(seen.job)
        return [
            TaskInfo(
                index=index,
                state=status if status.has_ended else JobStatus.PENDING,
                pending_reason=verdict.reason,
                can_be_scheduled=verdict.can_be_scheduled,
            )
            for index in range(seen.job["replicas"])
        ]

    def logs(self, job_id: str) -> str:
        """What the job has printed so far."""
        text = self._http.read(lambda answer: text_field(answer, "logs"), "GET", job_path(job_id, "logs"))
        _, begin, own = text.partition(_BEGIN)
        if begin:
            return own
        seen = self._see(job_id)
        # Where a driver did not come to begin, what Ray wrote says why.
        return text if seen.job is None or seen.info.status.has_ended else ""

    def follow(self, job_id: str) -> Iterator[str]:
        """The pieces of the job's log as they come, until it has ended."""
        before: str | None = "" if self._see(job_id).job is not None else None
        for text in self._http.messages(job_path(job_id, "logs/tail")):
            if before is None:
                yield text
                continue
            before += text
            _, begin, own = before.partition(_BEGIN)
            if begin:
                before = None
                yield own
        if before:
            yield before

    def delete(self, job_id: str) -> bool:
        """Forget an ended job.

        Raises:
            JobApiError: 409: it has not ended.
        """
        if not self._see(job_id).info.status.has_ended:
            raise JobApiError(f"the job {job_id} has not ended; stop it first", status=_CONFLICT)
        return self._http.read(lambda answer: boolean_field(answer, "deleted"), "DELETE", job_path(job_id))

    def _see(self, job_id: str) -> _Seen:
        return self._http.read(_seen, "GET", job_path(job_id))

    def _report(self, seen: _Seen) -> dict[str, Any] | None:
        """What the driver reports; None: nothing yet, or it cannot be had any more."""
        if seen.job is None or seen.node_id is None:
            return None
        params = {"node_id": seen.node_id, "filename": report_name(seen.info.job_id), "lines": "-1"}
        try:
            return self._http.read(wire_json.report_from_json, "GET", "/api/v0/logs/file", params=params)
        except JobApiError as error:
            if error.status is None:
                raise
            return None  # Ray answers 500 where there is no such file, or no such node any more

    def _verdict(self, job: Mapping[str, Any]) -> Verdict:
        """Why a job waits whose driver has not said anything yet."""
        demand = Demand(
            job["replicas"], job["resources"], job["coscheduled"], job["slice_name"], job["accelerator_type"]
        )
        verdict = why_pending([node_from_state(node) for node in self._nodes()], demand)
        return verdict if not verdict.can_be_scheduled else Verdict("waits for its driver to start on the controller")

    def _nodes(self) -> Sequence[dict[str, Any]]:
        params = {"limit": _MOST_NODES, "filter_keys": "state", "filter_predicates": "=", "filter_values": "ALIVE"}
        return self._http.read(wire_json.state_from_json, "GET", "/api/v0/nodes", params=params)


def _seen(value: object) -> _Seen:
    """One of Ray's JobDetails."""
    info = wire_json.info_from_json(value)
    node_id = value.get("driver_node_id") if isinstance(value, dict) else None
    env_vars = info.runtime_env.get("env_vars")
    if not isinstance(env_vars, dict) or VARIABLE not in env_vars:
        return _Seen(info, None, node_id)
    try:
        job, command = unpack(info.entrypoint, env_vars)
        env = job["env"]
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise JobApiError(f"the job {info.job_id} was packed by another version of iris: {error}") from error
    return _Seen(replace(info, entrypoint=command, runtime_env={"env_vars": env} if env else {}), job, node_id)


def _all_seen(value: object) -> list[_Seen]:
    return [_seen(item) for item in wire_json.submitted_jobs(value)]


def _with_report(seen: _Seen, report: Mapping[str, Any] | None) -> JobInfo:
    """The job as Ray has it, and where Ray has only the driver, as the driver reports it."""
    info = seen.info
    if seen.job is None:
        return info
    if report is None:
        if info.status.has_ended:
            return replace(info, message=info.message.partition(", last available logs")[0])
        return replace(info, status=JobStatus.PENDING, message="Job waits for its driver to start on the controller.")
    status = JobStatus(report["status"])
    if status is info.status:
        return replace(info, message=report["message"], exit_code=report["exit_code"])
    if info.status.has_ended:  # the driver was killed, or broke down
        return replace(info, message=info.message.partition(", last available logs")[0])
    return replace(info, status=JobStatus.RUNNING if status.has_ended else status, message=report["message"])


def _task(index: int, item: tuple[str, str | None, int | None], report: Mapping[str, Any], info: JobInfo) -> TaskInfo:
    state, worker, exit_code = JobStatus(item[0]), item[1], item[2]
    if info.status.has_ended and not state.has_ended:  # the driver was killed, or broke down
        state = JobStatus.STOPPED if info.status is JobStatus.STOPPED else JobStatus.FAILED
    waits = state is JobStatus.PENDING
    return TaskInfo(
        index=index,
        state=state,
        pending_reason=report["pending_reason"] if waits else "",
        can_be_scheduled=report["can_be_scheduled"] if waits else True,
        worker_id=worker,
        exit_code=exit_code,
    )


def _driver_task(seen: _Seen, nodes: Sequence[dict[str, Any]]) -> TaskInfo:
    names = {node.get("node_id"): node.get("node_name") for node in nodes}
    return TaskInfo(
        index=0,
        state=seen.info.status,
        pending_reason=seen.info.message if seen.info.status is JobStatus.PENDING else "",
        worker_id=names.get(seen.node_id, seen.node_id),
        exit_code=seen.info.exit_code,
    )
