"""The job client's way with iris's own controller: every question has a route."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iris_adapters.controller import wire_json
from iris_adapters.controller.json_fields import boolean_field, text_field
from iris_adapters.controller.request_json import request_to_json
from iris_adapters.controller.wire_json import job_path

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from iris_adapters.controller.http_api import Http
    from iris_adapters.controller.wire import JobInfo, JobRequest, TaskInfo


class LocalJobs:
    """Implements `client.Jobs`."""

    def __init__(self, http: Http) -> None:
        self._http = http

    def submit(self, request: JobRequest) -> str:
        """Submit a job and return its id."""
        body = request_to_json(request)
        return self._http.read(lambda answer: text_field(answer, "submission_id"), "POST", "/api/jobs/", body)

    def get(self, job_id: str) -> JobInfo:
        """The job as it is now."""
        return self._http.read(wire_json.info_from_json, "GET", job_path(job_id))

    def list(self) -> Sequence[JobInfo]:
        """Every job that the controller knows, oldest first."""
        return self._http.read(wire_json.infos_from_json, "GET", "/api/jobs/")

    def tasks(self, job_id: str) -> Sequence[TaskInfo]:
        """The job's replicas by index."""
        return self._http.read(wire_json.tasks_from_json, "GET", job_path(job_id, "tasks"))

    def logs(self, job_id: str) -> str:
        """What the job has printed so far."""
        return self._http.read(lambda answer: text_field(answer, "logs"), "GET", job_path(job_id, "logs"))

    def follow(self, job_id: str) -> Iterator[str]:
        """The pieces of the job's log as they come, until it has ended."""
        return self._http.messages(job_path(job_id, "logs/tail"))

    def delete(self, job_id: str) -> bool:
        """Forget an ended job."""
        return self._http.read(lambda answer: boolean_field(answer, "deleted"), "DELETE", job_path(job_id))
