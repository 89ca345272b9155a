from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import (
    ExchangeScript,
    FakeClock,
    FakeInventory,
    FakeShell,
    make_controller,
    make_queued_slice,
    make_slice,
)
from iris_core.cluster_manager import ClusterManager
from iris_core.config import (
    ClusterConfig,
    ContainerConfig,
    ControllerConfig,
    GcpConfig,
    Mode,
    QueuedConfig,
    WorkerGroupConfig,
)
from iris_core.errors import (
    ClusterError,
    ControllerNotFoundError,
    ControllerNotReadyError,
    InventoryError,
    InventoryToolError,
    OutOfCapacityError,
    QuotaExceededError,
    ResourceExistsError,
)
from iris_core.model import VmPhase
from tests.unit.core.jobs_api import controller_answers, http_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_core.model import ControllerVm

GROUP = WorkerGroupConfig(name="tpu", accelerator_type="v5litepod-8", runtime_version="v2-alpha-tpuv5-lite", count=2)
GCP = ClusterConfig(
    mode=Mode.GCP,
    gcp=GcpConfig(project_id="project", zone="us-central1-a"),
    controller=ControllerConfig(ready_timeout_seconds=98, container=ContainerConfig(command=())),
    workers=(GROUP,),
)
LOCAL = ClusterConfig(mode=Mode.LOCAL, workers=(GROUP,))


def booting() -> ControllerVm:
    return make_controller(phase=VmPhase.PENDING, address="")


class Rig:
    """A manager on fakes."""

    def __init__(self, config: ClusterConfig = GCP, inventory: FakeInventory | None = None) -> None:
        self.clock = FakeClock(auto_advance=True)
        self.shell = FakeShell(exchanges=[controller_answers()])
        self.inventory = inventory or FakeInventory()
        self.manager = ClusterManager(config, self.shell, self.inventory, self.clock)


@pytest.mark.parametrize(("config", "local"), [(GCP, False), (LOCAL, True)])
def test_is_local_is_the_configs_mode(config: ClusterConfig, *, local: bool) -> None:
    """The manager says what its configuration says."""
    assert Rig(config).manager.is_local is local


class TestStart:
    def test_it_makes_what_is_missing(self) -> None:
        """An empty project gets the controller and as many slices as each group is to have."""
        other = replace(GROUP, name="big", count=3)
        rig = Rig(replace(GCP, workers=(GROUP, other, replace(GROUP, name="none", count=0))))

        url = rig.manager.start()

        controller = rig.inventory.find_controller()
        assert controller is not None
        assert url == f"http://{controller.host.address}:10000"
        assert sorted(slice_.group for slice_ in rig.inventory.list_slices()) == ["big"] * 3 + ["tpu"] * 2
        assert rig.manager.controller == controller

    def test_it_keeps_what_is_there(self) -> None:
        """A second start makes nothing."""
        rig = Rig()
        rig.manager.start()
        names = rig.inventory.names()

        rig.manager.start()

        assert rig.inventory.names() == names

    @pytest.mark.parametrize("phase", [VmPhase.STOPPED, VmPhase.FAILED, VmPhase.DELETING])
    def test_a_slice_that_does_not_run_does_not_count(self, phase: VmPhase) -> None:
        """A preempted slice is made up for; one that is on its way counts."""
        old = [
            make_slice("iris-tpu-1", group="tpu", phase=phase),
            make_slice("iris-tpu-2", group="tpu", phase=VmPhase.PENDING, hosts=0),
        ]
        rig = Rig(inventory=FakeInventory(slices=old))

        rig.manager.start()

        assert rig.inventory.count("create_slice") == 1

    def test_in_local_mode_there_are_no_slices(self) -> None:
        """Worker groups are Google Cloud's; local workers are the controller's own."""
        rig = Rig(LOCAL)

        rig.manager.start()

        assert rig.inventory.count("create_slice") == 0

    def test_it_waits_until_the_vm_is_ready_and_has_an_address(self) -> None:
        """A VM that boots is looked at again and again."""
        rig = Rig(inventory=FakeInventory(new_controller=booting))
        rig.clock.call_later(31, lambda: rig.inventory.put_controller(make_controller(address="")))
        rig.clock.call_later(42, lambda: rig.inventory.put_controller(make_controller(address="10.0.0.9")))

        assert rig.manager.start() == "http://10.0.0.9:10000"

        assert 42 <= rig.clock.monotonic() <= 50

    def test_a_look_that_fails_is_made_again(self) -> None:
        """A blip while the VM boots does not cost the cluster."""
        rig = Rig(inventory=FakeInventory(new_controller=booting))
        rig.clock.call_later(11, lambda: rig.inventory.fail_next("find_controller", times=3))
        rig.clock.call_later(42, lambda: rig.inventory.put_controller(make_controller()))

        rig.manager.start()

        assert 42 <= rig.clock.monotonic() <= 50

    def test_looks_that_fail_do_not_prolong_the_wait(self) -> None:
        """The time of the controller is over in any case."""
        rig = Rig(inventory=FakeInventory(new_controller=booting))
        rig.clock.call_later(11, lambda: rig.inventory.fail_next("find_controller", times=99))

        with pytest.raises(ControllerNotReadyError, match="98 s"):
            rig.manager.start()

        assert rig.clock.monotonic() == 98

    def test_a_vm_that_never_is_ready_is_an_error_in_time(self) -> None:
        """The wait is bounded, and the error says how long and how the VM was at last."""
        rig = Rig(inventory=FakeInventory(new_controller=booting))

        with pytest.raises(ControllerNotReadyError, match=r"98 s .*pending, STAGING") as raised:
            rig.manager.start()

        assert raised.value.seconds == 98
        assert rig.clock.monotonic() == 98

    def test_a_failed_vm_is_an_error_at_once(self) -> None:
        """Nobody waits for what will not come."""
        rig = Rig(inventory=FakeInventory(new_controller=booting))
        rig.clock.call_later(12, lambda: rig.inventory.set_phase("iris-controller-iris", VmPhase.FAILED))

        with pytest.raises(ControllerNotReadyError, match="failed"):
            rig.manager.start()

        assert rig.clock.monotonic() <= 20

    def test_a_vm_that_vanishes_is_an_error(self) -> None:
        """A controller that somebody deletes while it boots is not waited for, and not made again."""
        rig = Rig(inventory=FakeInventory(new_controller=booting))
        rig.clock.call_later(12, lambda: rig.inventory.put_controller(None))

        with pytest.raises(ControllerNotFoundError, match="vanished"):
            rig.manager.start()

        assert rig.inventory.count("ensure_controller") == 1

    def test_one_on_its_way_out_is_waited_for_and_made_anew(self) -> None:
        """A start right after a stop of somebody else's finds the old controller still being deleted."""
        rig = Rig(inventory=FakeInventory(controller=make_controller(phase=VmPhase.DELETING)))
        rig.clock.call_later(12, lambda: rig.inventory.put_controller(None))

        rig.manager.start()

        controller = rig.inventory.find_controller()
        assert controller is not None
        assert controller.phase is VmPhase.READY

    def test_a_slice_that_cannot_be_made_does_not_stop_the_others(self) -> None:
        """All are tried; the first failure is raised."""
        rig = Rig(replace(GCP, workers=(replace(GROUP, count=5),)))
        rig.inventory.fail_next("create_slice", OutOfCapacityError("none left"), times=2)

        with pytest.raises(OutOfCapacityError):
            rig.manager.start()

        assert rig.inventory.count("create_slice") == 5
        assert len(rig.inventory.list_slices()) == 3

    def test_a_failed_list_creates_nothing(self) -> None:
        """What is not known to be missing is not made twice."""
        rig = Rig()
        rig.inventory.fail_next("list_slices")

        with pytest.raises(InventoryToolError):
            rig.manager.start()

        assert rig.inventory.count("create_slice") == 0

    def test_a_stop_ends_the_wait(self) -> None:
        """A start that waits gives up when another thread stops the cluster, and nothing is left."""
        rig = Rig(inventory=FakeInventory(new_controller=booting))
        rig.clock.call_later(12, rig.manager.stop)

        with pytest.raises(ClusterError, match="stopped while"):
            rig.manager.start()

        assert rig.clock.monotonic() == 12
        assert rig.inventory.names() == []

    def test_it_starts_again_after_a_stop(self) -> None:
        """A stop is about what runs, not about what is begun later."""
        rig = Rig()
        rig.manager.start()
        rig.manager.stop()

        assert rig.manager.start()


class TestStop:
    def test_it_deletes_everything_and_may_be_repeated(self) -> None:
        """Slices and controller go; a second stop finds nothing."""
        rig = Rig()
        rig.manager.start()

        rig.manager.stop()
        assert rig.inventory.names() == []
        assert rig.manager.controller is None
        rig.manager.stop()

    def test_it_stops_what_another_process_started(self) -> None:
        """What belongs to the cluster is asked of the cloud, not remembered."""
        rig = Rig(inventory=FakeInventory(controller=make_controller(), slices=[make_slice("iris-x-1")]))

        rig.manager.stop()

        assert rig.inventory.names() == []

    def test_somebody_elses_is_left_alone(self, caplog: pytest.LogCaptureFixture) -> None:
        """A cluster of the same name with another owner's slice: only mine goes, and theirs is named."""
        theirs = make_slice("iris-tpu-bobs", owner="bob")
        rig = Rig(inventory=FakeInventory(controller=make_controller(owner="me"), slices=[theirs]))
        rig.manager.stop()
        assert rig.inventory.names() == ["iris-tpu-bobs"]
        assert "iris-tpu-bobs is left alone: it belongs to bob." in caplog.messages


class TestConnect:
    @pytest.mark.parametrize("config", [GCP, LOCAL])
    def test_it_starts_yields_and_stops(self, config: ClusterConfig) -> None:
        """Without log_dir: a cluster, a URL through an open forward, no log streaming, and nothing left afterwards."""
        rig = Rig(config)
        threads = threading.active_count()

        with rig.manager.connect() as url:
            (forward,) = rig.shell.forwards
            assert url == f"http://127.0.0.1:{forward.local_port}"
            assert [item.is_open for item in rig.shell.forwards] == [True]
            assert rig.manager.controller is not None
            assert threading.active_count() == threads

        assert not forward.is_open
        assert rig.inventory.names() == []
        assert rig.shell.started == []
        assert rig.shell.commands == []

    @pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt(), SystemExit(143)])
    def test_it_stops_when_the_body_raises(self, error: BaseException) -> None:
        """Whatever the body raises comes out as it is, and nothing is left."""
        rig = Rig()

        with pytest.raises(type(error)) as raised, rig.manager.connect():
            raise error

        assert raised.value is error
        assert rig.inventory.names() == []
        assert [forward.is_open for forward in rig.shell.forwards] == [False]

    def test_a_cluster_that_was_there_is_left_running(self, caplog: pytest.LogCaptureFixture) -> None:
        """Connect gives the world back as it found it, and says what it leaves."""
        rig = Rig(inventory=FakeInventory(controller=make_controller()))

        with rig.manager.connect():
            pass

        assert "iris-controller-iris" in rig.inventory.names()
        assert rig.inventory.count("delete") == 0
        warnings = [record for record in caplog.records if record.levelname == "WARNING"]
        assert [record.name for record in warnings] == ["iris.cluster"]
        assert "iris-controller-iris" in warnings[0].getMessage()

    def test_a_controller_that_another_process_makes_meanwhile_is_theirs(self) -> None:
        """Of two connections that begin at the same time, the one that made the cluster deletes it."""

        class Raced(FakeInventory):
            def ensure_controller(self, made: Callable[[], object] | None = None) -> ControllerVm:
                self.put_controller(make_controller(owner="me"))
                return super().ensure_controller(made)

        rig = Rig(replace(GCP, workers=()), inventory=Raced())

        with rig.manager.connect():
            pass

        assert rig.inventory.names() == ["iris-controller-iris"]

    def test_what_it_has_added_to_somebody_elses_cluster_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        """Slices are made at the same time as the controller that turns out to be theirs."""

        class Raced(FakeInventory):
            def ensure_controller(self, made: Callable[[], object] | None = None) -> ControllerVm:
                self.put_controller(make_controller(owner="bob"))
                return super().ensure_controller(made)

        rig = Rig(inventory=Raced())

        with pytest.raises(ResourceExistsError, match="bob"), rig.manager.connect():
            pytest.fail("the body must not run")

        assert rig.inventory.count("delete") == 0
        assert "is left running: the controller iris-controller-iris and its workers" in caplog.text

    def test_a_controller_that_it_has_to_start_is_deleted(self) -> None:
        """A VM that was stopped would cost money from then on."""
        rig = Rig(inventory=FakeInventory(controller=make_controller(phase=VmPhase.STOPPED)))

        with rig.manager.connect():
            pass

        assert rig.inventory.names() == []

    def test_what_it_makes_after_one_on_its_way_out_is_deleted(self) -> None:
        """The controller that was found at first is not the one that runs."""
        rig = Rig(inventory=FakeInventory(controller=make_controller(phase=VmPhase.DELETING)))
        rig.clock.call_later(12, lambda: rig.inventory.put_controller(None))

        with rig.manager.connect():
            pass

        assert rig.inventory.names() == []

    @pytest.mark.parametrize(
        "fault",
        [
            lambda rig: rig.inventory.put_slice(make_slice("iris-tpu-1", group="tpu", owner="bob")),
            lambda rig: rig.inventory.fail_next("list_queued"),
            lambda rig: rig.inventory.fail_next("find_controller"),
        ],
    )
    def test_a_start_that_has_made_nothing_deletes_nothing(self, fault: Callable[[Rig], None]) -> None:
        """Google ends a controller with a time to live, and the slices run on: they are not this connection's."""
        rig = Rig(inventory=FakeInventory(slices=[make_slice("iris-tpu-2", group="tpu", owner="me")]))
        fault(rig)
        names = rig.inventory.names()

        with pytest.raises(InventoryError), rig.manager.connect():
            pytest.fail("the body must not run")

        assert rig.inventory.names() == names
        assert rig.inventory.count("delete") == 0

    def test_a_start_that_fails_deletes_only_what_it_has_made(self, caplog: pytest.LogCaptureFixture) -> None:
        """Slices that ran before, and requests that waited, are left alone, also if one becomes a slice meanwhile."""
        queued = replace(GROUP, name="queued", count=1, queued=QueuedConfig(wait_minutes=30))
        inventory = FakeInventory(
            slices=[make_slice("iris-tpu-1", group="tpu", owner="me")],
            queued=[make_queued_slice("iris-queued-1", group="queued", owner="me")],
        )
        rig = Rig(replace(GCP, workers=(GROUP, queued)), inventory=inventory)
        inventory.fail_next("ensure_controller", QuotaExceededError("no CPUs"))

        def fulfil() -> None:
            inventory.fulfil("iris-queued-1")

        rig.clock.call_later(30, fulfil)

        with pytest.raises(QuotaExceededError), rig.manager.connect():
            pytest.fail("the body must not run")

        assert inventory.count("create_slice") == 1
        assert inventory.names() == ["iris-queued-1", "iris-tpu-1"]
        assert "iris-tpu-1 is left alone: it was there before." in caplog.messages

    def test_what_was_there_of_a_cluster_that_it_starts_is_told_beforehand(
        self, caplog: pytest.LogCaptureFixture
    ) -> None:
        """For it is deleted at the end, with the rest of the cluster."""
        rig = Rig(inventory=FakeInventory(slices=[make_slice("iris-tpu-1", group="tpu", owner="me")]))

        with rig.manager.connect():
            (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
            assert "deletes the cluster when it ends, also what was there before: iris-tpu-1." in warning

        assert rig.inventory.names() == []

    def test_a_start_that_fails_leaves_nothing(self) -> None:
        """What a failing connect has created, it deletes."""
        rig = Rig()
        rig.inventory.fail_next("create_slice", OutOfCapacityError("none left"))

        with pytest.raises(OutOfCapacityError), rig.manager.connect():
            pytest.fail("the body must not run")

        assert rig.inventory.count("create_slice") == 2
        assert rig.inventory.names() == []

    def test_vm_and_controller_share_the_time(self) -> None:
        """What the VM has used of the time, the controller does not get again."""
        rig = Rig(inventory=FakeInventory(new_controller=booting))
        rig.clock.call_later(70, lambda: rig.inventory.put_controller(make_controller()))
        rig.shell.script(ExchangeScript(answers=[http_reply(status="503 Starting")]))

        with pytest.raises(ControllerNotReadyError, match="503"), rig.manager.connect():
            pytest.fail("the body must not run")

        assert rig.clock.monotonic() == 98
        assert rig.inventory.names() == []

    def test_a_stop_from_elsewhere_ends_the_wait_for_the_controller(self) -> None:
        """A connect that waits for the controller's answer gives up when the cluster is stopped."""
        rig = Rig()
        rig.shell.script(ExchangeScript(answers=[http_reply(status="503 Starting")]))
        rig.clock.call_later(12, rig.manager.stop)

        with pytest.raises(ControllerNotReadyError, match="stopped"), rig.manager.connect():
            pytest.fail("the body must not run")

        assert rig.clock.monotonic() == 12

    def test_an_error_while_stopping_is_raised(self) -> None:
        """A cluster that could not be deleted is not passed over in silence."""
        rig = Rig()

        with pytest.raises(InventoryToolError), rig.manager.connect():
            rig.inventory.fail_next("list_resources")

    def test_an_error_while_stopping_does_not_hide_the_bodys(self, caplog: pytest.LogCaptureFixture) -> None:
        """The body's error comes out; the other one is noted on it and logged."""
        rig = Rig()

        def fail() -> None:
            rig.inventory.fail_next("list_resources", InventoryToolError("gcloud broke"))
            raise ValueError("mine")

        with pytest.raises(ValueError, match="mine") as raised, rig.manager.connect():
            fail()

        assert "stopping the cluster failed: gcloud broke" in raised.value.__notes__[0]
        assert any("gcloud broke" in record.getMessage() for record in caplog.records if record.levelname == "ERROR")

    def test_stopped_in_the_body_is_stopped(self, caplog: pytest.LogCaptureFixture) -> None:
        """A body that stops the cluster itself is not told that something is left running."""
        rig = Rig(inventory=FakeInventory(controller=make_controller()))

        with rig.manager.connect():
            rig.manager.stop()

        assert not [record for record in caplog.records if record.levelname == "WARNING"]


class _Interrupted(FakeInventory):
    """Creating slices is interrupted by the user while one creation is under way."""

    def __init__(self, interrupt: Callable[[], None]) -> None:
        super().__init__()
        self._interrupt = interrupt

    def ensure_controller(self, made: Callable[[], object] | None = None) -> ControllerVm:
        super().ensure_controller(made)
        self._interrupt()
        raise AssertionError


def test_an_interrupted_start_leaves_nothing() -> None:
    """Ctrl-C in the middle of connect's start deletes what was created until then."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    rig = Rig(inventory=_Interrupted(interrupt))

    with pytest.raises(KeyboardInterrupt), rig.manager.connect():
        pytest.fail("the body must not run")

    assert rig.inventory.names() == []
