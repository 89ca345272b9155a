"""What passes between the HTTP server and the services behind it: requests, errors in Google's two styles, and routes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Json: TypeAlias = dict[str, Any]

_STATUS_NAMES = {
    400: ("INVALID_ARGUMENT", "invalid"),
    401: ("UNAUTHENTICATED", "authError"),
    403: ("PERMISSION_DENIED", "forbidden"),
    404: ("NOT_FOUND", "notFound"),
    409: ("ALREADY_EXISTS", "alreadyExists"),
    412: ("FAILED_PRECONDITION", "conditionNotMet"),
    429: ("RESOURCE_EXHAUSTED", "rateLimitExceeded"),
    500: ("INTERNAL", "backendError"),
    503: ("UNAVAILABLE", "backendError"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One REST call.

    Attributes:
        method: HTTP method.
        path: without host and query.
        query: the last value of each parameter.
        body: JSON, {} where there is none.
        operation_error: the error, ordered by a test, in which the operation that this call begins is to end.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Json = field(default_factory=dict)
    operation_error: Json | None = None


class ApiError(Exception):
    """The answer is an error.

    Args:
        status: HTTP status.
        message: for the user.
        reason: Compute's machine-readable reason (`notFound`, `quotaExceeded`); None: the usual one of the status.
        status_name: the other services' (`NOT_FOUND`); None: the usual one of the status.
    """

    def __init__(self, status: int, message: str, *, reason: str | None = None, status_name: str | None = None) -> None:
        super().__init__(message)
        usual_name, usual_reason = _STATUS_NAMES.get(status, ("UNKNOWN", "unknown"))
        self.status = status
        self.message = message
        self.reason = reason or usual_reason
        self.status_name = status_name or usual_name

    def payload(self, *, compute_style: bool) -> Json:
        """The body: Compute lists errors with a reason, the other services name a status."""
        error: Json = {"code": self.status, "message": self.message}
        if compute_style:
            error["errors"] = [{"message": self.message, "domain": "global", "reason": self.reason}]
        else:
            error["status"] = self.status_name
        return {"error": error}


class Router:
    """Finds the handler of a request by method and whole path; the path pattern's named groups are the handler's arguments."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Callable[..., Json]]] = []

    def add(self, method: str, pattern: str, handler: Callable[..., Json]) -> None:
        """Answer `method` on paths like `/v2/projects/{project}/nodes/{name}`; a name matches up to the next `/` or `:`."""
        expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/:]+)", pattern)
        self._routes.append((method, re.compile(expression), handler))

    def dispatch(self, request: Request) -> Json:
        """The JSON answer.

        Raises:
            ApiError: the answer is an error, 501 where the lab has no such call.
        """
        for method, pattern, handler in self._routes:
            if method == request.method and (found := pattern.fullmatch(request.path)):
                return handler(request, **found.groupdict())
        raise ApiError(501, f"the lab does not answer {request.method} {request.path}", reason="notImplemented")
