"""The client of the job API, for iris's local controller and for a Ray cluster."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self, TypeVar
from urllib.parse import quote

import httpx

from iris_adapters.controller import log_tail, wire_json
from iris_core.errors import JobApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from types import TracebackType

    from iris_adapters.controller.wire import ApiVersion, JobInfo, JobRequest, TaskInfo

T = TypeVar("T")
_TOKEN = re.compile(r"[!-~]+")
_MOST_QUOTED_CHARACTERS = 500
_TRACEBACK = "Traceback (most recent call last)"
_ERROR_LINE = re.compile(r"^[\w.]+(?:Error|Exception): .*", re.MULTILINE)


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
        if token is not None and not _TOKEN.fullmatch(token):
            raise JobApiError(
                "the controller's token has a character that cannot be in a token (blank, line end or not ASCII)"
            )
        self._url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        try:
            self._http = httpx.Client(
                base_url=self._url,
                headers={} if token is None else {"Authorization": f"Bearer {token}"},
                timeout=timeout_seconds,
                trust_env=False,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise JobApiError(f"{url!r} is not the URL of a controller: {error}") from error

    def version(self) -> ApiVersion:
        """Which controller answers."""
        return self._read(wire_json.version_from_json, "GET", "/api/version")

    def submit(self, request: JobRequest) -> str:
        """Submit a job and return its id; it runs as soon as its replicas find room."""
        body = wire_json.request_to_json(request)
        return self._read(lambda answer: wire_json.text_field(answer, "submission_id"), "POST", "/api/jobs/", body)

    def get(self, job_id: str) -> JobInfo:
        """The job as it is now."""
        return self._read(wire_json.info_from_json, "GET", _path(job_id))

    def list(self) -> tuple[JobInfo, ...]:
        """Every job that the controller knows, oldest first where the controller is iris's own."""
        return tuple(self._read(wire_json.infos_from_json, "GET", "/api/jobs/"))

    def tasks(self, job_id: str) -> tuple[TaskInfo, ...]:
        """The job's replicas by index. An iris extension."""
        return tuple(self._read(wire_json.tasks_from_json, "GET", _path(job_id, "tasks")))

    def logs(self, job_id: str) -> str:
        """What the job has printed so far, its replicas' lines as they came."""
        return self._read(lambda answer: wire_json.text_field(answer, "logs"), "GET", _path(job_id, "logs"))

    def follow(self, job_id: str) -> Generator[str, None, None]:
        """Yield the job's lines from its first on, without their line ends, as they come, until the job has ended.

        Close it (`contextlib.closing`) to leave before that: the connection is its own.
        """
        rest = ""
        for text in self._messages(job_id):
            *lines, rest = (rest + text).split("\n")
            yield from lines
        if rest:
            yield rest

    def stop(self, job_id: str) -> bool:
        """Have the job stopped; returns at once. False: it had ended already."""
        return self._read(lambda answer: wire_json.boolean_field(answer, "stopped"), "POST", _path(job_id, "stop"))

    def delete(self, job_id: str) -> bool:
        """Have the controller forget a job that has ended, and its log."""
        return self._read(lambda answer: wire_json.boolean_field(answer, "deleted"), "DELETE", _path(job_id))

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
        return f"JobClient({self._url!r})"

    def _read(self, parse: Callable[[object], T], method: str, path: str, body: dict[str, Any] | None = None) -> T:
        try:
            response = self._http.request(method, path, json=body)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise self._refused(method, path, response)
        try:
            return parse(response.json())
        except (ValueError, RecursionError, JobApiError) as error:
            raise JobApiError(
                f"{self._url} answered {method} {path} with something that is not the job API's: {error}",
                status=response.status_code,
            ) from error

    def _messages(self, job_id: str) -> Iterator[str]:
        path = _path(job_id, "logs/tail")
        try:
            with self._http.stream("GET", path, headers=log_tail.upgrade_headers()) as response:
                if response.status_code != log_tail.SWITCHING_PROTOCOLS:
                    response.read()
                    raise self._refused("GET", path, response)
                yield from log_tail.read_messages(response.extensions["network_stream"], self._timeout_seconds)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> JobApiError:
        return JobApiError(f"the controller at {self._url} does not answer: {str(error) or type(error).__name__}")

    def _refused(self, method: str, path: str, response: httpx.Response) -> JobApiError:
        return JobApiError(
            f"the controller at {self._url} answered {method} {path} with {response.status_code}: {_reason(response)}",
            status=response.status_code,
        )


def _path(job_id: str, rest: str = "") -> str:
    path = f"/api/jobs/{quote(job_id, safe='')}"
    return f"{path}/{rest}" if rest else path


def _reason(response: httpx.Response) -> str:
    """What the controller says: ours answers `{"error": …}`, Ray with text, often a whole traceback."""
    try:
        body = response.json()
    except (ValueError, RecursionError):
        body = None
    error = body.get("error") if isinstance(body, dict) else None
    text = error if isinstance(error, str) else response.text.strip()
    if _TRACEBACK in text:  # or several, one in the message of another: the innermost error comes last
        text = (_ERROR_LINE.findall(text) or text.splitlines()[-1:])[-1]
    return text[:_MOST_QUOTED_CHARACTERS] or response.reason_phrase
