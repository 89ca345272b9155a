"""A cluster whose hosts run Ray, as the users of its manager see it: who is told what, and when."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock, FakeInventory, FakeShell, RunScript, make_controller, make_slice
from iris_core.cluster_manager import ClusterManager
from iris_core.config import ClusterConfig, ControllerConfig, GcpConfig, Mode
from iris_core.errors import ControllerNotReadyError, JobApiError
from iris_core.model import CommandResult, Hardware, VmPhase
from tests.unit.core.jobs_api import controller_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from iris_adapters.fakes import FakeCommand
    from iris_core.model import ControllerVm, Slice

CONFIG = ClusterConfig(
    mode=Mode.GCP,
    gcp=GcpConfig(project_id="project", zone="us-central1-a"),
    controller=ControllerConfig(ready_timeout_seconds=60),
)
CONTROLLER = "iris-controller-iris"
W0, W1 = "iris-tpu-1-w0", "iris-tpu-1-w1"


def v5e(name: str = "iris-tpu-1", *, phase: VmPhase = VmPhase.READY) -> Slice:
    return make_slice(name, hosts=2, phase=phase, hardware=Hardware(accelerator_type="v5litepod-8"))


def controller(life: int = 1) -> ControllerVm:
    return replace(make_controller(life=life), internal_address=f"10.0.0.{life}")


class Rig:
    """A manager on fakes whose hosts remember what they are told."""

    def __init__(self, *, auto_advance: bool = False) -> None:
        self.clock = FakeClock(auto_advance=auto_advance)
        self.joined: dict[str, str] = {}  # by host, the head's address and the token that it knows
        self.shell = FakeShell(runs=[RunScript(answers=[self._answer])], exchanges=[controller_answers()])
        self.inventory = FakeInventory()
        self.inventory.put_controller(controller())
        self.inventory.put_slice(v5e())
        self.manager = ClusterManager(CONFIG, self.shell, self.inventory, self.clock)

    def _answer(self, command: FakeCommand) -> CommandResult:
        if command.host.name == CONTROLLER:
            token = f"token-of-{command.host.instance_id.rpartition('#')[2]}-".ljust(40, "x")
            return CommandResult(exit_status=0, stdout=token.encode())
        told = json.loads(command.stdin)
        self.joined[command.host.name] = f"{told['head']} {told['token'].rstrip('x')}"
        return CommandResult(exit_status=0)

    def until(self, condition: Callable[[], bool]) -> None:
        """Let time pass until something is true."""
        glance = threading.Event()
        for _ in range(1000):
            if condition():
                return
            self.clock.advance(1.0)
            glance.wait(0.001)
        pytest.fail("it did not happen")

    @contextmanager
    def connected(self) -> Iterator[None]:
        """As `connect`, with time passing in the end."""
        connection = self.manager.connect()
        connection.__enter__()
        yield
        thread = threading.Thread(target=connection.__exit__, args=(None, None, None))
        thread.start()
        self.until(lambda: not thread.is_alive())


def test_a_start_tells_every_worker(caplog: pytest.LogCaptureFixture) -> None:
    """So that a cluster that was started and left to itself comes together."""
    rig = Rig(auto_advance=True)
    rig.manager.start()
    assert rig.joined == {W0: "10.0.0.1 token-of-1-", W1: "10.0.0.1 token-of-1-"}
    assert rig.manager.controller is not None
    assert rig.manager.controller.token is not None
    assert rig.manager.controller.token.startswith("token-of-1-")
    assert "token-of" not in caplog.text


def test_a_start_waits_for_hosts_that_boot() -> None:
    """For the controller's, which lets nobody in at first, and for a worker's."""
    rig = Rig(auto_advance=True)
    rig.shell.break_host(CONTROLLER)
    rig.shell.break_host(W1)
    rig.clock.call_later(20.0, lambda: rig.shell.heal_host(CONTROLLER))
    rig.clock.call_later(40.0, lambda: rig.shell.heal_host(W1))
    rig.manager.start()
    assert set(rig.joined) == {W0, W1}


def test_a_start_names_who_could_not_be_told(caplog: pytest.LogCaptureFixture) -> None:
    """It is no failure: the workers hear of it later."""
    rig = Rig(auto_advance=True)
    rig.shell.break_host(W1)
    rig.inventory.put_slice(v5e("iris-tpu-2", phase=VmPhase.PENDING))
    rig.manager.start()
    assert set(rig.joined) == {W0}
    [warning] = [text for text in caplog.messages if "which controller to join" in text]
    assert W1 in warning
    assert "iris-tpu-2" in warning


def test_a_controller_that_lets_nobody_in_is_an_error() -> None:
    """Within the time that the controller has."""
    rig = Rig(auto_advance=True)
    rig.shell.break_host(CONTROLLER)
    with pytest.raises(ControllerNotReadyError, match=r"was not reached within 60 s"):
        rig.manager.start()


def test_a_token_that_cannot_be_read_is_an_error_at_once() -> None:
    """Waiting would not help."""
    rig = Rig()
    rig.shell = FakeShell(runs=[RunScript(answers=[CommandResult(exit_status=1, stderr=b"a password is required")])])
    rig.manager = ClusterManager(CONFIG, rig.shell, rig.inventory, rig.clock)
    with pytest.raises(JobApiError, match="a password is required"):
        rig.manager.start()


def test_the_tunnel_is_proven_with_the_token() -> None:
    """And who connects finds the token with the controller."""
    rig = Rig()
    with rig.connected():
        [request] = rig.shell.forwards[0].requests
        assert b"Authorization: Bearer token-of-1-" in request


def test_who_comes_later_is_told_while_somebody_is_connected() -> None:
    """A slice that was made anew, by whomever."""
    rig = Rig()
    with rig.connected():
        rig.until(lambda: {W0, W1} <= set(rig.joined))
        rig.inventory.put_slice(v5e("iris-tpu-2"))
        rig.until(lambda: {"iris-tpu-2-w0", "iris-tpu-2-w1"} <= set(rig.joined))


def test_a_host_that_cannot_be_reached_is_tried_again_soon() -> None:
    """And not only at the next look at the cloud."""
    rig = Rig()
    rig.shell.break_host(W0)
    with rig.connected():
        rig.until(lambda: W1 in rig.joined)
        rig.shell.heal_host(W0)
        rig.until(lambda: W0 in rig.joined)


def test_another_controller_is_told_to_all() -> None:
    """It has another address and another token; the manager knows them too."""
    rig = Rig()
    with rig.connected():
        rig.until(lambda: {W0, W1} <= set(rig.joined))
        rig.inventory.put_controller(controller(life=2))
        rig.until(lambda: rig.joined == {W0: "10.0.0.2 token-of-2-", W1: "10.0.0.2 token-of-2-"})
        assert rig.manager.controller is not None
        assert rig.manager.controller.host.instance_id == f"{CONTROLLER}#2"


def test_nothing_goes_on_after_the_connection() -> None:
    """Its thread ends with it."""
    rig = Rig()
    before = set(threading.enumerate())
    with rig.connected():
        rig.until(lambda: {W0, W1} <= set(rig.joined))
    rig.until(lambda: set(threading.enumerate()) <= before)
