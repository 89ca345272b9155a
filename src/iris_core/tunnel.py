"""A way to the controller's job API that is proven to end at the controller."""

from __future__ import annotations

import json
import logging
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

import h11

from iris_core.errors import (
    AuthenticationFailedError,
    ControllerNotReadyError,
    HostKeyError,
    InventoryError,
    JobApiError,
    LocalPortInUseError,
    RemoteShellError,
)
from iris_core.model import VmPhase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iris_core.model import ControllerVm, Host
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import PortForward, RemoteShell

_logger = logging.getLogger("iris.cluster")

_RETRY_SECONDS: Final = 2.0  # a VM takes a minute to boot; asking more often would not make it faster
_FIRST_LOOK_SECONDS: Final = 10.0  # a look is one gcloud command
_MOST_LOOK_SECONDS: Final = 30.0
_WORTH_CONNECTING: Final = frozenset({VmPhase.PENDING, VmPhase.READY})
_MOST_EXCHANGE_SECONDS: Final = 10.0  # for one request, so that a controller that hangs at first is asked again
_VERSION_PATH: Final = "/api/version"
_VERSION_KEY: Final = (
    "ray_version"  # Ray Jobs REST API: https://docs.ray.io/en/latest/cluster/running-applications/job-submission/
)
_OK: Final = 200
_REFUSALS: Final = (401, 403)
_SHOWN_BYTES: Final = 200
# A VM that boots has neither our key nor a host key that the cloud could report; later these are for the user to mend.
_UNLIKELY_TO_PASS: Final = (AuthenticationFailedError, HostKeyError)


class _NotYetError(Exception):
    """What answers is not (yet) the controller; the message says what was wrong."""


@contextmanager
def open_tunnel(
    shell: RemoteShell,
    clock: Clock,
    controller: ControllerVm,
    *,
    timeout_seconds: float,
    local_port: int = 0,
    give_up: threading.Event | None = None,
    find_controller: Callable[[], ControllerVm | None] | None = None,
) -> Iterator[str]:
    """Forward a local port to the controller, wait until the controller itself answers through it, and yield its URL.

    That something listens proves nothing: the reply to `GET /api/version` must be that of the Jobs API.

    The URL outlives the connection, and the VM: a connection that breaks is made anew for the next request, and where the VM cannot
    be connected to, `find_controller` is asked whether it is another one now. Requests are refused meanwhile.

    Args:
        shell: reaches the controller's host.
        clock: every wait goes through it.
        controller: with the address of its host, its port and its token.
        timeout_seconds: for all tries together; the first is made at once, whatever the time.
        local_port: on 127.0.0.1. 0: a free one.
        give_up: ends the waiting when another thread sets it.
        find_controller: finds it again, should it be made anew. Asked only when it cannot be connected to, and then at most every ten
            seconds, later every half minute. None: it stays where it is.

    Yields:
        `http://127.0.0.1:PORT`, good until the context is left.

    Raises:
        ControllerNotReadyError: the controller did not answer within the time.
        JobApiError: it answered and refused our token; trying again would not help.
        LocalPortInUseError: `local_port` is taken.
    """
    where = None if find_controller is None else _Whereabouts(find_controller, controller, clock)
    wait = _Wait(clock, controller, timeout_seconds, give_up or threading.Event())
    with ExitStack() as forwards:
        forward = None
        while True:
            try:
                if forward is None:
                    host = controller.host if where is None else where.host
                    forward = forwards.enter_context(
                        shell.forward(
                            host, controller.port, local_port, find_again=None if where is None else where.find_again
                        )
                    )
                _prove(forward, controller, min(_MOST_EXCHANGE_SECONDS, wait.left()))
                break
            except LocalPortInUseError:
                raise
            except (RemoteShellError, _NotYetError) as problem:
                wait.before_retry(problem)
                if where is not None and forward is None:
                    where.find_again()
        url = f"http://127.0.0.1:{forward.local_port}"
        _logger.info("The controller %s answers at %s", controller.name, url)
        yield url


class _Whereabouts:
    """Where the controller's host is, as far as is known. Any thread may ask."""

    def __init__(self, find: Callable[[], ControllerVm | None], controller: ControllerVm, clock: Clock) -> None:
        self._find = find
        self._clock = clock
        self._lock = threading.Lock()
        self._next_look = clock.monotonic()
        self._pause = _FIRST_LOOK_SECONDS
        self.host = controller.host

    def find_again(self) -> Host:
        """Where it is now. What was found a moment ago must do: the cloud is not asked for every request that fails."""
        with self._lock:
            now = self._clock.monotonic()
            if now < self._next_look:
                return self.host
            if now - self._next_look > _MOST_LOOK_SECONDS:  # all went well for a while
                self._pause = _FIRST_LOOK_SECONDS
            try:
                found = self._find()
            except InventoryError as error:
                _logger.warning("Where the controller is now is not known at the moment: %s", error)
                found = None
            if (
                found is not None
                and found.phase in _WORTH_CONNECTING
                and found.host.address
                and found.host != self.host
            ):
                if found.host.instance_id != self.host.instance_id:
                    _logger.warning(
                        "The controller %s is another VM now, and its URL leads there: what ran on the old one is gone, and it may want "
                        "another token",
                        found.name,
                    )
                self.host, self._pause = found.host, _FIRST_LOOK_SECONDS
            self._next_look = self._clock.monotonic() + self._pause
            self._pause = min(2 * self._pause, _MOST_LOOK_SECONDS)
            return self.host


class _Wait:
    """The budget of the retries."""

    def __init__(self, clock: Clock, controller: ControllerVm, seconds: float, give_up: threading.Event) -> None:
        self._clock = clock
        self._controller = controller
        self._seconds = seconds
        self._give_up = give_up
        self._deadline = clock.monotonic() + seconds
        self._last_problem = ""

    def left(self) -> float:
        """Seconds for the next request: what is left, but enough for an answer from nearby."""
        return max(self._deadline - self._clock.monotonic(), 1.0)

    def before_retry(self, problem: Exception) -> None:
        """Wait a little; or raise, if the time is over or the caller has given up."""
        if str(problem) != self._last_problem:
            self._last_problem = str(problem)
            level = logging.WARNING if isinstance(problem, _UNLIKELY_TO_PASS) else logging.INFO
            _logger.log(level, "Waiting for the controller %s: %s", self._controller.name, problem)
        seconds = min(_RETRY_SECONDS, self._deadline - self._clock.monotonic())
        stopped = self._clock.wait(self._give_up, seconds)
        if stopped or seconds <= 0:
            end = "It was stopped while iris waited" if stopped else f"It did not answer within {self._seconds:g} s"
            raise ControllerNotReadyError(
                f"The controller {self._controller.name} cannot be used. {end}; the last problem: {problem}. Its container's log "
                "(with a log directory, iris lands it) says what it is doing; a slow start needs a longer "
                "controller.ready_timeout_seconds.",
                seconds=self._seconds,
                problem=str(problem),
            ) from problem


def _prove(forward: PortForward, controller: ControllerVm, timeout_seconds: float) -> None:
    """Ask for the version and raise unless a controller answers."""
    reply = forward.exchange(_version_request(forward.local_port, controller.token), timeout_seconds)
    status, body = _parse_reply(reply)
    if status in _REFUSALS:
        raise JobApiError(
            f"The controller {controller.name} answered HTTP {status}: it does not accept "
            + (
                "the token that iris knows for it. "
                if controller.token
                else "requests without a token, and iris knows none. "
            )
            + "It may be another cluster's controller, or one that was started with another token.",
            status=status,
        )
    if status != _OK:
        raise _NotYetError(f"GET {_VERSION_PATH} was answered with HTTP {status}: {_shown(body)}")
    try:
        answer = json.loads(body)
    except ValueError:
        answer = None
    if not isinstance(answer, dict) or _VERSION_KEY not in answer:
        raise _NotYetError(
            f"what listens on port {controller.port} of {controller.host.name} is not a controller: GET {_VERSION_PATH} was "
            f"answered with {_shown(body)}"
        )


def _version_request(local_port: int, token: str | None) -> bytes:
    headers = [("Host", f"127.0.0.1:{local_port}"), ("Accept", "application/json"), ("Connection", "close")]
    if token is not None:
        headers.append(("Authorization", f"Bearer {token}"))
    connection = h11.Connection(h11.CLIENT)
    request = connection.send(h11.Request(method="GET", target=_VERSION_PATH, headers=headers))
    return (request or b"") + (connection.send(h11.EndOfMessage()) or b"")


def _parse_reply(reply: bytes) -> tuple[int, bytes]:
    """Status and body of a reply that ended with its connection."""
    connection = h11.Connection(h11.CLIENT)
    # h11 parses a reply only to a request, whose headers do not matter to it.
    connection.send(h11.Request(method="GET", target=_VERSION_PATH, headers=[("Host", "127.0.0.1")]))
    connection.send(h11.EndOfMessage())
    status = None
    body = bytearray()
    try:
        connection.receive_data(reply)
        if reply:
            connection.receive_data(b"")
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage) and status is not None:
                return status, bytes(body)
            elif not isinstance(event, h11.InformationalResponse):
                raise _NotYetError(f"the connection was closed before GET {_VERSION_PATH} was answered")
    except h11.RemoteProtocolError as error:
        raise _NotYetError(
            f"what was answered to GET {_VERSION_PATH} is not HTTP ({error}): {_shown(reply)}"
        ) from error


def _shown(data: bytes) -> str:
    return repr(data[:_SHOWN_BYTES].decode(errors="replace")) + (" …" if len(data) > _SHOWN_BYTES else "")
