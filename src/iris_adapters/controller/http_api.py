"""HTTP with a controller: requests, what their failures are called, and the stream of a job's log. Knows no job."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import httpx

from iris_adapters.controller import log_tail
from iris_core.errors import JobApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

T = TypeVar("T")
_TOKEN = re.compile(r"[!-~]+")
_SCHEMES = ("http", "https")
_MOST_QUOTED_CHARACTERS = 500
_TRACEBACK = "Traceback (most recent call last)"
_ERRNO = re.compile(r"^\[Errno \d+\] ")
_ERROR_LINE = re.compile(r"^[\w.]+(?:Error|Exception): .*", re.MULTILINE)


def check_url(url: str) -> None:
    """Refuse what cannot be the URL of a controller.

    Raises:
        JobApiError: it cannot.
    """
    try:
        parsed = httpx.URL(url)
        problem = "" if parsed.scheme in _SCHEMES and parsed.host else "it should be like http://127.0.0.1:10000"
    except (httpx.InvalidURL, ValueError) as error:
        problem = str(error)
    if problem:
        raise JobApiError(f"{url!r} is not the URL of a controller: {problem}")


def check_token(token: str) -> None:
    """Refuse what cannot be a controller's token.

    Raises:
        JobApiError: it cannot. The message does not have it.
    """
    if not token:
        raise JobApiError("the controller's token is empty")
    if not _TOKEN.fullmatch(token):
        raise JobApiError(
            "the controller's token has a character that cannot be in a token (blank, line end or not ASCII)"
        )


class Http(Protocol):
    """What the ways of the job client need of the connections to a controller."""

    def read(
        self,
        parse: Callable[[object], T],
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> T:
        """Ask, and have the JSON that is answered parsed."""
        ...

    def messages(self, path: str) -> Iterator[str]:
        """What a websocket sends until it is closed in the normal way."""
        ...


class HttpApi:
    """Connections to one controller. Every method may be called from any thread.

    Proxies and `.netrc` of the environment are not used: the controller is on this machine, or at this end of a tunnel.

    Args:
        url: of the controller.
        token: the bearer token, or None for a controller that wants none.
        timeout_seconds: how long to wait for a connection and for each part of an answer.

    Raises:
        JobApiError: from every method, when the controller cannot be reached, refuses, or answers what it should not.
    """

    def __init__(self, url: str, token: str | None, timeout_seconds: float) -> None:
        if token is not None:
            check_token(token)
        check_url(url)
        self.url = url.rstrip("/")
        self._timeout_seconds = timeout_seconds
        self._http = httpx.Client(
            base_url=self.url,
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            timeout=timeout_seconds,
            trust_env=False,
        )

    def read(
        self,
        parse: Callable[[object], T],
        method: str,
        path: str,
        body: dict[str, Any] | None = None,
        params: Mapping[str, str] | None = None,
    ) -> T:
        """Ask, and have the JSON that is answered parsed."""
        try:
            response = self._http.request(method, path, json=body, params=params)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error
        if not response.is_success:
            raise self._refused(method, path, response)
        try:
            return parse(response.json())
        except (ValueError, RecursionError, JobApiError) as error:
            raise JobApiError(
                f"{self.url} answered {method} {path} with something that is not the job API's: {error}",
                status=response.status_code,
            ) from error

    def messages(self, path: str) -> Iterator[str]:
        """What a websocket sends until it is closed in the normal way."""
        try:
            with self._http.stream("GET", path, headers=log_tail.upgrade_headers()) as response:
                if response.status_code != log_tail.SWITCHING_PROTOCOLS:
                    response.read()
                    raise self._refused("GET", path, response)
                yield from log_tail.read_messages(response.extensions["network_stream"], self._timeout_seconds)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unreachable(error) from error

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._http.close()

    def _unreachable(self, error: Exception) -> JobApiError:
        reason = _ERRNO.sub("", str(error)) or type(error).__name__
        return JobApiError(
            f"the controller at {self.url} does not answer: {reason}. `iris connect` must be running; it prints the URL."
        )

    def _refused(self, method: str, path: str, response: httpx.Response) -> JobApiError:
        return JobApiError(
            f"the controller at {self.url} answered {method} {path} with {response.status_code}: {_reason(response)}",
            status=response.status_code,
        )


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
