"""Starts: what is adopted, made in parallel, waited for in the queue, and told on the way."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock, FakeInventory, FakeShell, make_controller, make_queued_slice, make_slice
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
    CloudUnavailableError,
    ClusterError,
    ControllerNotReadyError,
    InventoryError,
    OutOfCapacityError,
    PermissionDeniedError,
    QuotaExceededError,
    ResourceExistsError,
)
from iris_core.model import QueuedSlice, VmPhase
from iris_core.progress import Progress, Stage

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_core.model import ControllerVm

GROUP = WorkerGroupConfig(name="tpu", accelerator_type="v5litepod-8", runtime_version="v2")
QUEUED = replace(GROUP, name="queued", queued=QueuedConfig(wait_minutes=30))
CONTROLLER = "iris-controller-iris"
HALF_AN_HOUR = 1800


class Rig:
    """A manager on fakes, and what it has told."""

    def __init__(self, *groups: WorkerGroupConfig, inventory: FakeInventory | None = None, commands: int = 4) -> None:
        self.clock = FakeClock(auto_advance=True)
        self.inventory = inventory or FakeInventory()
        self.told: list[Progress] = []
        self.manager = ClusterManager(
            ClusterConfig(
                mode=Mode.GCP,
                gcp=GcpConfig(project_id="p", zone="us-central1-a", most_gcloud_commands=commands),
                controller=ControllerConfig(ready_timeout_seconds=98, container=ContainerConfig(command=())),
                workers=groups,
            ),
            FakeShell(),
            self.inventory,
            self.clock,
        )

    def start(self) -> str:
        return self.manager.start(self.told.append)

    def later(self, seconds: float, stage: str) -> None:
        """Let the one request that waits be `fulfilled` or `failed`."""

        def act() -> None:
            [request] = self.inventory.list_queued()
            if stage == "fulfilled":
                self.inventory.fulfil(request.name)
            else:
                failed = replace(request, phase=VmPhase.FAILED, state="FAILED", problem="no such reservation")
                self.inventory.put_queued(failed)

        self.clock.call_later(seconds, act)

    def told_of(self, resource: str) -> list[tuple[Stage, str]]:
        return [(event.stage, event.text) for event in self.told if event.resource == resource]


class TestAdopting:
    def test_what_fits_is_adopted_and_the_rest_is_made(self) -> None:
        """A half-made cluster is completed, whatever half there is."""
        old = [make_slice("iris-tpu-1", group="tpu", owner="me")]
        rig = Rig(replace(GROUP, count=2), inventory=FakeInventory(slices=old))
        rig.start()
        assert rig.inventory.count("create_slice") == 1
        assert rig.told_of("tpu 1/2") == [(Stage.DONE, "iris-tpu-1 is there already (READY)")]

    @pytest.mark.parametrize("phase", [VmPhase.READY, VmPhase.STOPPED])
    def test_somebody_elses_controller_is_not_touched(self, phase: VmPhase) -> None:
        """Neither started again nor used, and no slice is made."""
        inventory = FakeInventory(controller=make_controller(owner="joe", phase=phase))
        rig = Rig(GROUP, inventory=inventory)
        with pytest.raises(ResourceExistsError, match="it belongs to joe, and you are me"):
            rig.start()
        assert inventory.names() == [CONTROLLER]
        assert inventory.count("ensure_controller") == inventory.count("create_slice") == 0

    def test_what_the_configuration_no_longer_wants_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        """Once, by name; it is left alone."""
        old = [make_slice(f"iris-tpu-{index}", group="tpu", owner="me") for index in range(3)]
        rig = Rig(GROUP, inventory=FakeInventory(slices=[*old, make_slice("iris-big-1", group="big", owner="me")]))
        rig.start()
        (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert "costs money: iris-big-1, iris-tpu-1, iris-tpu-2." in warning
        assert rig.inventory.count("delete") == 0

    def test_a_slice_that_does_not_fit_is_an_error_before_anything_is_made(self) -> None:
        """A changed configuration does not silently go on with the old slices."""
        rig = Rig(GROUP)
        rig.start()
        changed = Rig(replace(GROUP, accelerator_type="v5litepod-16"), inventory=rig.inventory)
        before = rig.inventory.names()
        with pytest.raises(ResourceExistsError, match="v5litepod-8, the configuration says v5litepod-16"):
            changed.start()
        assert rig.inventory.names() == before

    def test_a_controller_on_its_way_out_need_not_fit(self) -> None:
        """It is waited for, and made anew."""
        dying = make_controller(machine_type="n1-standard-1", phase=VmPhase.DELETING)
        rig = Rig(inventory=FakeInventory(controller=dying))
        rig.clock.call_later(2, lambda: rig.inventory.fail_next("find_controller", CloudUnavailableError("a blip")))
        rig.clock.call_later(7, lambda: rig.inventory.put_controller(None))
        rig.start()
        assert rig.told_of(CONTROLLER)[0] == (Stage.WAITING, "waited for: it is on its way out (STOPPING)")

    def test_somebody_elses_that_is_being_stopped_is_not_started(self) -> None:
        """Compute says the same of a VM that is being deleted: what becomes of it is seen first."""
        theirs = make_controller(owner="joe", phase=VmPhase.DELETING)
        rig = Rig(GROUP, inventory=FakeInventory(controller=theirs))
        rig.clock.call_later(7, lambda: rig.inventory.set_phase(CONTROLLER, VmPhase.STOPPED))
        with pytest.raises(ResourceExistsError, match="it belongs to joe"):
            rig.start()
        assert rig.inventory.count("ensure_controller") == rig.inventory.count("create_slice") == 0

    def test_slices_that_go_with_the_old_controller_are_not_adopted(self) -> None:
        """What there is is looked at again once it is gone."""
        old = make_slice("iris-tpu-1", group="tpu", owner="me")
        rig = Rig(GROUP, inventory=FakeInventory(controller=make_controller(phase=VmPhase.DELETING), slices=[old]))
        rig.clock.call_later(5, lambda: rig.inventory.remove_slice("iris-tpu-1"))
        rig.clock.call_later(7, lambda: rig.inventory.put_controller(None))
        rig.start()
        assert rig.inventory.count("create_slice") == 1

    def test_one_that_never_is_gone_is_an_error_in_time(self) -> None:
        """Before anything is made."""
        rig = Rig(GROUP, inventory=FakeInventory(controller=make_controller(phase=VmPhase.DELETING)))
        with pytest.raises(ControllerNotReadyError, match=r"on its way out \(STOPPING\), and was for 98 s"):
            rig.start()
        assert rig.inventory.count("create_slice") == 0

    def test_who_was_quicker_is_not_adopted_unseen(self) -> None:
        """A controller that somebody else makes between the look and the creation is seen to be theirs."""
        rig = Rig(inventory=FakeInventory(new_controller=lambda: make_controller(owner="joe")))
        with pytest.raises(ResourceExistsError, match="by somebody else just now: it belongs to joe"):
            rig.start()


class TestInParallel:
    def test_the_controller_and_the_slices_are_made_at_the_same_time(self) -> None:
        """As many at a time as gcloud commands may run."""
        together = threading.Barrier(3, timeout=5)

        def new_controller() -> ControllerVm:
            return make_controller(owner="me")

        class Meeting(FakeInventory):
            def ensure_controller(self, made: Callable[[], object] | None = None) -> ControllerVm:
                together.wait()
                return super().ensure_controller(made)

            def create_slice(self, group: WorkerGroupConfig) -> object:  # type: ignore[override]
                together.wait()
                return super().create_slice(group)

        rig = Rig(replace(GROUP, count=2), inventory=Meeting(new_controller=new_controller), commands=3)
        rig.start()
        assert rig.inventory.count("create_slice") == 2

    def test_one_failure_stops_nothing_else_and_all_are_told(self, caplog: pytest.LogCaptureFixture) -> None:
        """The first is raised, the others are logged, and each is told where it happened."""
        rig = Rig(replace(GROUP, count=3))
        rig.inventory.fail_next("ensure_controller", QuotaExceededError("no CPUs"))
        rig.inventory.fail_next("create_slice", OutOfCapacityError("none left"))
        with pytest.raises(QuotaExceededError, match="no CPUs"):
            rig.start()
        assert rig.inventory.count("create_slice") == 3
        assert len(rig.inventory.names()) == 2
        assert "none left" in caplog.text
        failed = [event.resource for event in rig.told if event.stage is Stage.FAILED]
        assert failed[0] == CONTROLLER or CONTROLLER in failed
        assert len(failed) == 2

    def test_what_is_neither_success_nor_an_error_of_ours_calls_all_off(self) -> None:
        """Ctrl-C ends the creations that run, and the waiting for the queue."""

        class Interrupted(FakeInventory):
            def create_slice(self, group: WorkerGroupConfig) -> object:  # type: ignore[override]
                raise KeyboardInterrupt(group.name)

        rig = Rig(GROUP, QUEUED, inventory=Interrupted())
        rig.clock = FakeClock()  # nobody moves it: the wait for the queue ends only by being called off
        rig.manager._clock = rig.clock
        threads = threading.active_count()
        with pytest.raises(KeyboardInterrupt):
            rig.start()
        assert rig.inventory.called_off >= 1
        deadline = threading.Event()
        for _ in range(500):
            if threading.active_count() <= threads:
                break
            deadline.wait(0.01)
        assert threading.active_count() <= threads


class TestTheQueue:
    def test_a_slice_is_asked_for_and_waited_for(self) -> None:
        """Told with what Google says of it, and until when it may wait."""
        rig = Rig(QUEUED)
        rig.later(100, "fulfilled")
        rig.start()
        [slice_] = rig.inventory.list_slices()
        assert slice_.queued_as == slice_.name
        assert rig.clock.monotonic() >= 100
        told = rig.told_of("queued 1/1")
        assert told[0] == (Stage.WAITING, "being asked for")
        assert f"{slice_.name} waits in the queue (WAITING_FOR_RESOURCES), until " in told[1][1]
        assert told[-1] == (Stage.DONE, f"{slice_.name} is there")

    def test_all_requests_are_looked_at_together(self) -> None:
        """Waiting for a hundred costs one command each time, as waiting for one does."""
        rig = Rig(replace(QUEUED, count=100))

        def fulfil_all() -> None:
            for request in rig.inventory.list_queued():
                rig.inventory.fulfil(request.name)

        rig.clock.call_later(95, fulfil_all)
        rig.start()
        assert rig.inventory.count("list_queued") <= 14
        assert len(rig.inventory.list_slices()) == 100

    def test_what_is_not_fulfilled_in_time_is_withdrawn(self) -> None:
        """Nothing is left that could become a slice, and the error says how long iris waited."""
        rig = Rig(QUEUED)
        with pytest.raises(OutOfCapacityError, match=r"not fulfilled in time \(it is WAITING_FOR_RESOURCES\)"):
            rig.start()
        assert rig.inventory.names() == [CONTROLLER]
        assert HALF_AN_HOUR <= rig.clock.monotonic() <= HALF_AN_HOUR + 20
        assert rig.told_of("queued 1/1")[-1][0] is Stage.FAILED

    def test_one_that_is_being_fulfilled_is_let_finish(self) -> None:
        """It has left the queue: what is waited for now is a slice that boots."""
        rig = Rig(QUEUED)

        def grant() -> None:
            [request] = rig.inventory.list_queued()
            rig.inventory.put_queued(replace(request, is_granted=True, state="PROVISIONING"))

        rig.clock.call_later(HALF_AN_HOUR - 10, grant)
        rig.later(HALF_AN_HOUR + 200, "fulfilled")
        rig.start()
        assert len(rig.inventory.list_slices()) == 1

    def test_one_that_has_failed_is_deleted_and_its_reason_told(self) -> None:
        """It would count against the quota."""
        rig = Rig(QUEUED)
        rig.later(30, "failed")
        with pytest.raises(OutOfCapacityError, match="no such reservation"):
            rig.start()
        assert rig.inventory.names() == [CONTROLLER]

    def test_one_that_has_failed_for_want_of_quota_is_no_stockout(self) -> None:
        """What the cloud has told is what is raised: trying again later or elsewhere would not help."""
        rig = Rig(QUEUED)

        def fail() -> None:
            [request] = rig.inventory.list_queued()
            problem = "Quota limit 'X' has been exceeded"
            failed = replace(request, phase=VmPhase.FAILED, problem=problem, failure=QuotaExceededError)
            rig.inventory.put_queued(failed)

        rig.clock.call_later(30, fail)
        with pytest.raises(QuotaExceededError, match=r"Quota limit 'X'[\s\S]*more quota"):
            rig.start()
        assert rig.inventory.names() == [CONTROLLER]

    def test_one_that_cannot_be_deleted_is_named(self) -> None:
        """It may still become a slice, which the error says."""
        rig = Rig(QUEUED)
        rig.inventory.fail_next("delete")
        with pytest.raises(OutOfCapacityError) as raised:
            rig.start()
        assert "may still become a slice that costs money" in "".join(raised.value.__notes__)

    def test_a_look_that_fails_does_not_throw_the_waiting_away(self) -> None:
        """A blip after most of an hour: the requests are in Google's queue all the same."""
        rig = Rig(QUEUED)
        rig.clock.call_later(
            1000, lambda: rig.inventory.fail_next("list_queued", CloudUnavailableError("a blip"), times=20)
        )
        rig.later(1300, "fulfilled")
        rig.start()
        assert len(rig.inventory.list_slices()) == 1

    @pytest.mark.parametrize(
        ("error", "seconds"), [(CloudUnavailableError("down"), 300), (PermissionDeniedError("no"), 0)]
    )
    def test_looks_that_fail_for_minutes_are_an_error(self, error: InventoryError, seconds: float) -> None:
        """So is one that does not pass by itself, at once."""
        rig = Rig(QUEUED)
        rig.clock.call_later(1000, lambda: rig.inventory.fail_next("list_queued", error, times=99))
        with pytest.raises(type(error)):
            rig.start()
        assert 1000 + seconds <= rig.clock.monotonic() <= 1020 + seconds

    def test_one_that_somebody_deletes_is_an_error(self) -> None:
        """It is not asked for again."""
        rig = Rig(QUEUED)

        def vanish() -> None:
            [request] = rig.inventory.list_queued()
            rig.inventory.delete(request)

        rig.clock.call_later(30, vanish)
        with pytest.raises(ClusterError, match="somebody has deleted it"):
            rig.start()
        assert rig.inventory.count("queue_slice") == 1

    def test_a_request_of_an_earlier_start_is_waited_for(self) -> None:
        """Its time counts from when it was made, not from this start."""
        rig = Rig(QUEUED)
        made = rig.clock.now() - timedelta(minutes=20)
        rig.inventory.put_queued(make_queued_slice("iris-queued-1", group="queued", owner="me", created_at=made))
        with pytest.raises(OutOfCapacityError):
            rig.start()
        assert rig.inventory.count("queue_slice") == 0
        assert 600 <= rig.clock.monotonic() <= 620

    def test_a_stop_ends_the_waiting_and_takes_the_request_along(self) -> None:
        """What still waits in the queue is deleted with the rest."""
        rig = Rig(QUEUED)
        rig.clock.call_later(12, lambda: threading.Thread(target=rig.manager.stop).start())
        with pytest.raises(ClusterError, match="stopped"):
            rig.start()
        rig.manager.stop()
        assert rig.inventory.names() == []

    def test_a_request_that_cannot_be_made_stops_no_other(self) -> None:
        """The others are waited for; the error is raised then."""
        rig = Rig(replace(QUEUED, count=2))
        rig.inventory.fail_next("queue_slice", QuotaExceededError("no more requests"))
        rig.later(30, "fulfilled")
        with pytest.raises(QuotaExceededError):
            rig.start()
        assert len(rig.inventory.list_slices()) == 1

    def test_a_fulfilled_request_needs_no_new_one(self) -> None:
        """A second start finds the slice."""
        rig = Rig(QUEUED)
        rig.later(30, "fulfilled")
        rig.start()
        rig.start()
        assert rig.inventory.count("queue_slice") == 1

    def test_what_an_earlier_start_has_left_failed_is_deleted_first(self) -> None:
        """It holds quota, and nothing comes of it; why it had failed is told."""
        failed = make_queued_slice(
            "iris-queued-1", group="queued", owner="me", phase=VmPhase.FAILED, problem="no such reservation"
        )
        rig = Rig(QUEUED, inventory=FakeInventory(queued=[failed, replace(failed, name="iris-queued-2", owner="joe")]))

        def fulfil() -> None:
            rig.inventory.fulfil("iris-queued-20260101000001")

        rig.clock.call_later(30, fulfil)
        rig.start()
        methods = [call.method for call in rig.inventory.calls if call.method in ("delete", "queue_slice")]
        assert methods == ["delete", "queue_slice"]
        assert rig.inventory.names() == [CONTROLLER, "iris-queued-2", "iris-queued-20260101000001"]
        assert rig.told_of("iris-queued-1") == [
            (Stage.WAITING, "has come to nothing (FAILED: no such reservation), and is being deleted"),
            (Stage.DONE, "has come to nothing, and was deleted"),
        ]

    def test_what_has_failed_and_cannot_be_deleted_stops_nothing(self) -> None:
        """That it could not be deleted is told."""
        failed = make_queued_slice("iris-queued-1", group="old", owner="me", phase=VmPhase.FAILED)
        rig = Rig(GROUP, inventory=FakeInventory(queued=[failed]))
        rig.inventory.fail_next("delete")
        rig.start()
        stage, text = rig.told_of("iris-queued-1")[-1]
        assert stage is Stage.FAILED
        assert "counts against the quota, and could not be deleted" in text

    def test_a_start_that_is_refused_deletes_nothing(self) -> None:
        """What failed belongs to a cluster that this configuration does not fit."""
        failed = make_queued_slice("iris-queued-1", group="queued", owner="me", phase=VmPhase.FAILED)
        there = make_controller(owner="joe")
        rig = Rig(QUEUED, inventory=FakeInventory(controller=there, queued=[failed]))
        with pytest.raises(ResourceExistsError):
            rig.start()
        assert rig.inventory.count("delete") == 0


def test_the_controller_is_told_of_from_creation_to_ready() -> None:
    """What is waited for, in words; at last where it is."""
    rig = Rig(inventory=FakeInventory(new_controller=lambda: make_controller(phase=VmPhase.PENDING, address="")))
    rig.clock.call_later(12, lambda: rig.inventory.put_controller(make_controller(address="10.0.0.9")))
    rig.start()
    assert rig.told_of(CONTROLLER) == [
        (Stage.WAITING, "its VM is being created"),
        *[(Stage.WAITING, "waited for: it is pending, STAGING")] * 3,
        (Stage.DONE, "its VM is ready, at 10.0.0.9"),
    ]


def test_without_a_listener_the_log_tells(caplog: pytest.LogCaptureFixture) -> None:
    """On the logger iris.cluster, at INFO."""
    rig = Rig(GROUP)
    with caplog.at_level("INFO", "iris.cluster"):
        rig.manager.start()
    assert f"{CONTROLLER}: its VM is being created" in caplog.text
    assert any(record.name == "iris.cluster" for record in caplog.records)


def test_a_queued_slice_is_a_resource_with_a_zone() -> None:
    """What deletes resources needs no more of them."""
    request: QueuedSlice = make_queued_slice("iris-queued-1")
    assert request.zone
