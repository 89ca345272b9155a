from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import ExchangeScript, FakeClock, FakeShell, make_controller
from iris_core.errors import (
    ConnectionLostError,
    ControllerNotReadyError,
    HostUnreachableError,
    InventoryError,
    JobApiError,
    LocalPortInUseError,
)
from iris_core.model import VmPhase
from iris_core.tunnel import open_tunnel
from tests.unit.core.jobs_api import controller_answers, http_reply

if TYPE_CHECKING:
    from iris_core.model import ControllerVm

CONTROLLER = make_controller()
HOST = CONTROLLER.host.name


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(auto_advance=True)


def test_the_url_is_that_of_the_forward(clock: FakeClock) -> None:
    """The URL names the forward's local port; the forward is open inside the context only."""
    shell = FakeShell(exchanges=[controller_answers()])

    with open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60) as url:
        (forward,) = shell.forwards
        assert url == f"http://127.0.0.1:{forward.local_port}"
        assert (forward.host, forward.remote_port, forward.is_open) == (CONTROLLER.host, 10000, True)

    assert not forward.is_open
    assert clock.monotonic() == 0


def test_the_local_port_can_be_chosen(clock: FakeClock) -> None:
    """A local port that was asked for is the one that is bound."""
    shell = FakeShell(exchanges=[controller_answers()])

    with open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60, local_port=12345) as url:
        assert url == "http://127.0.0.1:12345"


def test_the_request_is_the_jobs_apis(clock: FakeClock) -> None:
    """One GET of /api/version that asks for the connection to be closed, with the Host that clients will send."""
    shell = FakeShell(exchanges=[controller_answers()])

    with open_tunnel(shell, clock, make_controller(token="s3cret"), timeout_seconds=60, local_port=12345):
        (request,) = shell.forwards[0].requests

    head, lines = request.split(b"\r\n")[0], request.lower().split(b"\r\n")[1:]
    assert head == b"GET /api/version HTTP/1.1"
    assert {b"host: 127.0.0.1:12345", b"connection: close", b"authorization: bearer s3cret"} <= set(lines)
    assert request.endswith(b"\r\n\r\n")


def test_without_a_token_none_is_sent(clock: FakeClock) -> None:
    """A controller that wants no token is sent none."""
    shell = FakeShell(exchanges=[controller_answers()])

    with open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60):
        assert b"authorization" not in shell.forwards[0].requests[0].lower()


def test_a_host_that_boots_is_tried_again(clock: FakeClock) -> None:
    """A host that cannot be reached yet is no error until the time is over."""
    shell = FakeShell(unreachable=[HOST], exchanges=[controller_answers()])
    clock.call_later(45, lambda: shell.heal_host(HOST))

    with open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60):
        assert 45 <= clock.monotonic() <= 50


@pytest.mark.parametrize(
    "early",
    [
        HostUnreachableError("nothing listens", host=HOST),
        ConnectionLostError("reset", host=HOST),
        b"",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}",
        http_reply(status="503 Service Unavailable"),
        http_reply(status="404 Not Found"),
        http_reply(b"<html>It works!</html>"),
        http_reply(b"[]"),
        http_reply(b'{"version": "4"}'),
    ],
)
def test_what_is_not_a_controller_is_asked_again(
    clock: FakeClock, early: bytes | HostUnreachableError | ConnectionLostError
) -> None:
    """That something listens is not enough: only the Jobs API's own answer opens the tunnel, through the same forward."""
    shell = FakeShell(exchanges=[ExchangeScript(answers=[early, early, http_reply()])])

    with open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60):
        (forward,) = shell.forwards
        assert len(forward.requests) == 3


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b'7\r\n{"ray_v\r\n' + b"f\r\n" + b'ersion": "2.6"}' + b"\r\n0\r\n\r\n",
            id="in chunks after an informational reply",
        ),
        pytest.param(b'HTTP/1.1 200 OK\r\n\r\n{"ray_version": "2.6"}', id="as long as the connection"),
    ],
)
def test_replies_may_be_framed_as_http_allows(clock: FakeClock, reply: bytes) -> None:
    """A reply need not say its length."""
    shell = FakeShell(exchanges=[ExchangeScript(answers=[reply])])

    with open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60):
        assert clock.monotonic() == 0


def test_the_time_runs_out_with_the_last_problem(clock: FakeClock) -> None:
    """The error says how long and what was wrong at last, and no forward stays open."""
    shell = FakeShell(
        unreachable=[HOST], exchanges=[ExchangeScript(answers=[http_reply(b"oops", status="503 Unavailable")])]
    )
    clock.call_later(10, lambda: shell.heal_host(HOST))

    with (
        pytest.raises(ControllerNotReadyError, match=r"within 60 s.*HTTP 503.*oops") as raised,
        open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60),
    ):
        pytest.fail("the tunnel must not open")

    assert raised.value.seconds == 60
    assert "503" in raised.value.problem
    assert clock.monotonic() == 60
    assert [forward.is_open for forward in shell.forwards] == [False]


def test_no_time_is_one_try(clock: FakeClock) -> None:
    """With no time left the first try is still made."""
    with open_tunnel(FakeShell(exchanges=[controller_answers()]), clock, CONTROLLER, timeout_seconds=0) as url:
        assert url
    with (
        pytest.raises(ControllerNotReadyError),
        open_tunnel(FakeShell(unreachable=[HOST]), clock, CONTROLLER, timeout_seconds=0),
    ):
        pytest.fail("the tunnel must not open")


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden"])
@pytest.mark.parametrize(("token", "says"), [(None, "iris knows none"), ("s3cret", "the token that iris knows")])
def test_a_refused_token_is_told_at_once(clock: FakeClock, status: str, token: str | None, says: str) -> None:
    """Waiting does not make a token right; the token itself is not shown."""
    shell = FakeShell(exchanges=[ExchangeScript(answers=[http_reply(b"no", status=status)])])

    with (
        pytest.raises(JobApiError, match=says) as raised,
        open_tunnel(shell, clock, make_controller(token=token), timeout_seconds=60),
    ):
        pytest.fail("the tunnel must not open")

    assert raised.value.status == int(status[:3])
    assert "s3cret" not in str(raised.value)
    assert clock.monotonic() == 0


def test_a_taken_local_port_is_told_at_once(clock: FakeClock) -> None:
    """Waiting does not free a port that somebody else has."""
    shell = FakeShell(taken_ports=[9000], exchanges=[controller_answers()])

    with (
        pytest.raises(LocalPortInUseError),
        open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60, local_port=9000),
    ):
        pytest.fail("the tunnel must not open")

    assert clock.monotonic() == 0


def test_an_error_of_the_body_is_not_retried(clock: FakeClock) -> None:
    """What the body raises leaves the context as it is, also if it is a shell's error."""
    shell = FakeShell(exchanges=[controller_answers()])

    with (
        pytest.raises(ConnectionLostError, match="mine"),
        open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60),
    ):
        raise ConnectionLostError("mine", host=HOST)

    assert [(forward.is_open, len(forward.requests)) for forward in shell.forwards] == [(False, 1)]


def test_waiting_can_be_given_up(clock: FakeClock) -> None:
    """A stop from elsewhere ends the wait at once, however much time is left."""
    give_up = threading.Event()
    clock.call_later(7, give_up.set)

    with (
        pytest.raises(ControllerNotReadyError, match="stopped"),
        open_tunnel(FakeShell(unreachable=[HOST]), clock, CONTROLLER, timeout_seconds=600, give_up=give_up),
    ):
        pytest.fail("the tunnel must not open")

    assert clock.monotonic() == 7


class Cloud:
    """Knows where the controller is, and counts how often it was asked.

    Attributes:
        controller: what it answers; an error is raised.
        asked_at: when it was asked, in seconds.
    """

    def __init__(self, clock: FakeClock, controller: ControllerVm | InventoryError | None) -> None:
        self.controller = controller
        self.asked_at: list[float] = []
        self._clock = clock

    def __call__(self) -> ControllerVm | None:
        self.asked_at.append(self._clock.monotonic())
        if isinstance(self.controller, InventoryError):
            raise self.controller
        return self.controller


RECREATED = replace(
    CONTROLLER, host=replace(CONTROLLER.host, address="127.0.0.99", instance_id=f"{CONTROLLER.host.instance_id}1")
)


def test_a_controller_that_was_made_anew_is_found_behind_the_same_url(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """The cloud is asked when the old address fails, and not before; the user is told that it is another VM."""
    shell = FakeShell(exchanges=[controller_answers()])
    cloud = Cloud(clock, CONTROLLER)

    with open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60, find_controller=cloud) as url:
        (forward,) = shell.forwards
        forward.exchange(b"x", 1)
        asked_before = len(cloud.asked_at)
        cloud.controller = RECREATED
        shell.break_host(CONTROLLER.host.address)

        forward.exchange(b"x", 1)

        assert asked_before == 0
        assert forward.host == RECREATED.host
        assert url == f"http://127.0.0.1:{forward.local_port}"
        assert len(cloud.asked_at) == 1
        assert "is another VM now" in caplog.text


@pytest.mark.parametrize(
    "answer",
    [CONTROLLER, None, InventoryError("no"), replace(RECREATED, phase=VmPhase.STOPPED)],
    ids=["the same", "none", "unknown", "stopped"],
)
def test_a_controller_that_is_down_is_asked_for_thriftily(
    clock: FakeClock, answer: ControllerVm | InventoryError | None
) -> None:
    """However many requests fail: at once, after ten seconds, after twenty more, and then every half minute."""
    shell = FakeShell(exchanges=[controller_answers()])
    cloud = Cloud(clock, answer)

    with open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60, find_controller=cloud):
        (forward,) = shell.forwards
        shell.break_host(CONTROLLER.host.address)
        for _ in range(120):
            with pytest.raises(HostUnreachableError):
                forward.exchange(b"x", 1)
            clock.advance(1)

    assert cloud.asked_at == [0, 10, 30, 60, 90]


def test_after_a_while_without_trouble_it_is_asked_for_quickly_again(clock: FakeClock) -> None:
    """The second loss of a long connection is healed as fast as the first."""
    shell = FakeShell(exchanges=[controller_answers()])
    cloud = Cloud(clock, CONTROLLER)

    with open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60, find_controller=cloud):
        (forward,) = shell.forwards
        for at in (0, 40, 1000, 1010):
            clock.advance(at - clock.monotonic())
            shell.break_host(CONTROLLER.host.address)
            with pytest.raises(HostUnreachableError):
                forward.exchange(b"x", 1)
            shell.heal_host(CONTROLLER.host.address)

    assert cloud.asked_at == [0, 40, 1000, 1010]


def test_a_controller_that_moves_while_it_is_waited_for_is_followed(clock: FakeClock) -> None:
    """It may be made anew before it has ever answered."""
    shell = FakeShell(exchanges=[controller_answers()], unreachable=[CONTROLLER.host.address])

    with open_tunnel(shell, clock, CONTROLLER, timeout_seconds=60, find_controller=Cloud(clock, RECREATED)):
        assert [forward.host for forward in shell.forwards] == [RECREATED.host]
