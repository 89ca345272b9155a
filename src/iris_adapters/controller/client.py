"""The client of the job API, for iris's local controller and for a Ray cluster."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Protocol, Self

from iris_adapters.controller import wire_json
from iris_adapters.controller.http_api import HttpApi
from iris_adapters.controller.json_fields import boolean_field
from iris_adapters.controller.local_jobs import LocalJobs
from iris_adapters.controller.ray_jobs import RayJobs
from iris_adapters.controller.wire_json import job_path

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from types import TracebackType

    from iris_adapters.controller.wire import ApiVersion, JobInfo, JobRequest, TaskInfo


class Jobs(Protocol):
    """The part of the client in which the controllers differ."""

    def submit(self, request: JobRequest) -> str:
        """Submit a job and return its id."""
        ...

    def get(self, job_id: str) -> JobInfo:
        """The job as it is now."""
        ...

    def list(self) -> Sequence[JobInfo]:
        """Every job that the controller knows."""
        ...

    def tasks(self, job_id: str) -> Sequence[TaskInfo]:
        """The job's replicas by index."""
        ...

    def logs(self, job_id: str) -> str:
        """What the job has printed so far."""
        ...

    def follow(self, job_id: str) -> Iterator[str]:
        """The pieces of the job's log as they come, until it has ended."""
        ...

    def delete(self, job_id: str) -> bool:
        """Forget an ended job."""
        ...


class JobClient:
    """Submits jobs to a controller and watches them. Every method may be called from any thread.

    Proxies and `.netrc` of the environment are not used: the controller is on this machine, or at this end of a tunnel.

    Args:
        url: of the controller, as `ClusterManager.connect` yields it: `http://127.0.0.1:10000`.
        token: the bearer token, or None for a controller that wants none. It appears in no error and no repr.
        timeout_seconds: how long to wait for a connection and for each part of an answer.

    Raises:
        JobApiError: from every method, when the controller cannot be reached, refuses, or answers what it should not. `status`
            is the HTTP status where there was an answer.
    """

    def __init__(self, url: str, token: str | None = None, timeout_seconds: float = 10.0) -> None:
        self._http = HttpApi(url, token, timeout_seconds)

    def version(self) -> ApiVersion:
        """Which controller answers."""
        return self._http.read(wire_json.version_from_json, "GET", "/api/version")

    def submit(self, request: JobRequest) -> str:
        """Submit a job and return its id; it runs as soon as its replicas find room."""
        return self._jobs.submit(request)

    def get(self, job_id: str) -> JobInfo:
        """The job as it is now."""
        return self._jobs.get(job_id)

    def list(self) -> tuple[JobInfo, ...]:
        """Every job that the controller knows, oldest first."""
        return tuple(self._jobs.list())

    def tasks(self, job_id: str) -> tuple[TaskInfo, ...]:
        """The job's replicas by index."""
        return tuple(self._jobs.tasks(job_id))

    def logs(self, job_id: str) -> str:
        """What the job has printed so far, its replicas' lines as they came."""
        return self._jobs.logs(job_id)

    def follow(self, job_id: str) -> Generator[str, None, None]:
        """Yield the job's lines from its first on, without their line ends, as they come, until the job has ended.

        Close it (`contextlib.closing`) to leave before that: the connection is its own.
        """
        rest = ""
        for text in self._jobs.follow(job_id):
            *lines, rest = (rest + text).split("\n")
            yield from lines
        if rest:
            yield rest

    def stop(self, job_id: str) -> bool:
        """Have the job stopped; returns at once. False: it had ended already."""
        return self._http.read(lambda answer: boolean_field(answer, "stopped"), "POST", job_path(job_id, "stop"))

    def delete(self, job_id: str) -> bool:
        """Have the controller forget a job that has ended, and its log."""
        return self._jobs.delete(job_id)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"JobClient({self._http.url!r})"

    @cached_property
    def _jobs(self) -> Jobs:
        return LocalJobs(self._http) if self.version().controller == wire_json.IRIS_CONTROLLER else RayJobs(self._http)
