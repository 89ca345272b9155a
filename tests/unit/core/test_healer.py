"""Lost slices as the users of a connected manager see them: told, replaced, and never more than was asked for."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import (
    FakeClock,
    FakeInventory,
    FakeShell,
    StartScript,
    make_controller,
    make_queued_slice,
    make_slice,
)
from iris_adapters.fakes.docker_engine import FakeDockerEngine
from iris_core.cluster_manager import ClusterManager
from iris_core.cluster_watch import ClusterWatch
from iris_core.config import (
    ClusterConfig,
    ContainerConfig,
    ControllerConfig,
    GcpConfig,
    LogConfig,
    Mode,
    QueuedConfig,
    WorkerGroupConfig,
)
from iris_core.errors import (
    CloudUnavailableError,
    InvalidRequestError,
    NotAuthenticatedError,
    OutOfCapacityError,
    PermissionDeniedError,
)
from iris_core.healer import Healer
from iris_core.model import VmPhase
from iris_core.replacing import Orders
from tests.unit.core.jobs_api import controller_answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from iris_adapters.fakes import FakeProcess
    from iris_core.healing import Loss
    from iris_core.model import ControllerVm, QueuedSlice, Resource, Slice

GROUP = WorkerGroupConfig(
    name="tpu", accelerator_type="v5litepod-8", runtime_version="v", count=1, spot=True, recreate=True
)
CONFIG = ClusterConfig(
    mode=Mode.GCP,
    gcp=GcpConfig(project_id="project", zone="us-central1-a"),
    controller=ControllerConfig(container=ContainerConfig(command=())),
    workers=(GROUP,),
    logs=LogConfig(black_box_seconds=120),  # none of them passes: everything is answered
)
EVERY = CONFIG.logs.discovery_seconds
NEW = "iris-tpu-20260101000001"


def out_of_memory(process: FakeProcess) -> None:
    process.emit_stdout(b"Out of memory")
    process.exit(0)


class Rig:
    """A connected manager on fakes, whose time passes in `until`: half a second as soon as all threads wait, or after a moment."""

    def __init__(
        self,
        config: ClusterConfig = CONFIG,
        inventory: FakeInventory | None = None,
        *,
        tells: Callable[[FakeProcess], None] = out_of_memory,
    ) -> None:
        self.clock = FakeClock()
        self.engine = FakeDockerEngine()
        told = [StartScript(argv=argv, handler=tells) for argv in (("dmesg",), ("sh", "-c"))]
        self.shell = FakeShell(starts=[self.engine.script(), *told], exchanges=[controller_answers()])
        self.inventory = inventory or FakeInventory()
        self.inventory.put_controller(make_controller())
        self.inventory.put_slice(make_slice("iris-tpu-1", group="tpu"))
        self.manager = ClusterManager(config, self.shell, self.inventory, self.clock)
        self.others = set(threading.enumerate())

    def until(self, condition: Callable[[], bool], seconds: float = 600.0) -> None:
        """Let time pass until something is true."""
        end = self.clock.monotonic() + seconds
        while not condition():
            assert self.clock.monotonic() < end, "it did not happen"
            self.clock.advance(0.5)
            with suppress(TimeoutError):
                self.clock.wait_until_waiting(len(set(threading.enumerate()) - self.others), timeout_seconds=0.001)

    def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass."""
        end = self.clock.monotonic() + seconds
        self.until(lambda: self.clock.monotonic() >= end, seconds + 1)

    @contextmanager
    def connected(self, log_dir: Path | None = None) -> Iterator[None]:
        """As `connect`, with time passing in the end."""
        connection = self.manager.connect(log_dir)
        connection.__enter__()
        yield
        self.apart(lambda: connection.__exit__(None, None, None))

    def apart(self, action: Callable[[], object]) -> None:
        """Do something that waits while time passes."""
        done = threading.Event()

        def act() -> None:
            action()
            done.set()

        thread = threading.Thread(target=act)
        thread.start()
        self.until(done.is_set)
        thread.join()

    def calls(self, *methods: str) -> list[tuple[str, str]]:
        return [(call.method, call.name) for call in list(self.inventory.calls) if call.method in methods]

    def changes(self) -> list[tuple[str, str]]:
        return self.calls("create_slice", "delete")

    def warnings(self, caplog: pytest.LogCaptureFixture) -> str:
        return "\n".join(record.getMessage() for record in caplog.records if record.name == "iris.cluster")


def test_a_preempted_slice_is_replaced_and_both_lives_are_on_disk(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its end and the reason are on record and told; first it is deleted, then another is created and streamed."""
    rig = Rig()
    container = rig.engine.create("iris-worker")
    with rig.connected(tmp_path):
        first = container.write(b"first life\n")
        rig.until((tmp_path / "workers" / "iris-tpu-1-w0.txt").exists)
        rig.until(lambda: b"first life" in (tmp_path / "workers" / "iris-tpu-1-w0.txt").read_bytes())
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(lambda: NEW in rig.inventory.names())
        rig.until((tmp_path / "workers" / f"{NEW}-w0.txt").exists)
        rig.until(lambda: b"first life" in (tmp_path / "workers" / f"{NEW}-w0.txt").read_bytes())
    assert rig.changes() == [("delete", "iris-tpu-1"), ("create_slice", "tpu")]
    assert (tmp_path / "workers" / "iris-tpu-1-w0.txt").read_bytes() == first.landed
    events = [
        json.loads(line) for line in (tmp_path / "workers" / "iris-tpu-1-w0.events.jsonl").read_text().splitlines()
    ]
    reasons = {event["event"]: event["reason"] for event in events if event["event"].startswith("host-")}
    assert reasons == {"host-lost": "preempted", "host-gone": "preempted"}
    assert (tmp_path / "hosts" / "iris-tpu-1-w0" / "dmesg.txt").read_text() == "Out of memory"
    assert "The slice iris-tpu-1 is preempted (PREEMPTED): it is re-created" in rig.warnings(caplog)
    assert f"The slice iris-tpu-1 was re-created as {NEW}" in rig.warnings(caplog)


def test_healing_needs_no_streaming() -> None:
    """Without a directory for logs the cluster is healed all the same, with one list call at each interval."""
    rig = Rig()
    with rig.connected():
        rig.pass_time(5 * EVERY)
        assert 2 <= rig.inventory.count("list_slices") <= 8  # one of them by the start
        rig.inventory.remove_slice("iris-tpu-1")
        rig.until(lambda: NEW in rig.inventory.names())
    assert rig.changes() == [("create_slice", "tpu")]


def test_streaming_and_healing_share_one_question(tmp_path: Path) -> None:
    """Landing logs into two directories and healing ask no more often than landing them into one."""
    rig = Rig()
    with rig.connected(tmp_path / "one"):
        assert rig.manager.start_log_streaming(tmp_path / "two") is not None
        rig.pass_time(6 * EVERY)
        assert rig.inventory.count("list_slices") <= 9
        assert rig.inventory.count("find_controller") <= 5
    rig.apart(rig.manager.stop)


def test_nothing_to_heal_is_nothing_to_ask() -> None:
    """Where no group is healed and no logs are landed, the cloud is left in peace."""
    rig = Rig(replace(CONFIG, workers=(replace(GROUP, recreate=False),)))
    with rig.connected():
        before = len(rig.inventory.calls)
        rig.pass_time(5 * EVERY)
        assert len(rig.inventory.calls) == before


def meanwhile(change: Callable[[FakeInventory], None]) -> Rig:
    """Where something happens in the cloud while the last words of a lost slice are taken."""

    def tells(process: FakeProcess) -> None:
        change(rig.inventory)
        out_of_memory(process)

    rig = Rig(tells=tells)
    return rig


def test_what_somebody_starts_meanwhile_is_not_deleted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It is of use again when its last words have been taken; that it is not re-created after all is told."""
    rig = meanwhile(lambda cloud: cloud.set_phase("iris-tpu-1", VmPhase.READY))
    with rig.connected(tmp_path):
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(
            lambda: "iris-tpu-1 is not re-created, but left alone: it is there again (READY)" in rig.warnings(caplog)
        )
        rig.pass_time(6 * EVERY)
    assert rig.changes() == []


def test_what_somebody_else_takes_meanwhile_is_left_to_them(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Neither deleted nor replaced, also if it is lost in its turn."""
    theirs = make_slice("iris-tpu-1", group="tpu", phase=VmPhase.FAILED, owner="joe", life=2)
    rig = meanwhile(lambda cloud: cloud.put_slice(theirs))
    with rig.connected(tmp_path):
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(lambda: "iris-tpu-1 is not re-created, but left alone: it belongs to joe now" in rig.warnings(caplog))
        rig.pass_time(6 * EVERY)
    assert rig.changes() == []


def test_who_deletes_a_lost_slice_replaces_it(tmp_path: Path) -> None:
    """Another iris that was a moment quicker: what it deletes is not deleted again, and what it creates is waited for."""
    rig = meanwhile(lambda cloud: cloud.set_phase("iris-tpu-1", VmPhase.DELETING))
    with rig.connected(tmp_path):
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until((tmp_path / "hosts" / "iris-tpu-1-w0" / "dmesg.txt").exists)
        rig.pass_time(4 * EVERY)
        rig.inventory.remove_slice("iris-tpu-1")
        rig.pass_time(EVERY)
        rig.inventory.put_slice(make_slice("iris-tpu-2", group="tpu"))
        rig.pass_time(4 * EVERY)
    assert rig.changes() == []


def test_what_is_not_to_be_re_created_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The user hears of it, and of how to have it otherwise; nothing is touched."""
    rig = Rig(replace(CONFIG, workers=(replace(GROUP, recreate=False),)))
    with rig.connected(tmp_path):
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(lambda: "workers.recreate" in rig.warnings(caplog))
        rig.pass_time(3 * EVERY)
    assert rig.changes() == []
    assert rig.warnings(caplog).count("is preempted") == 1


def test_a_stockout_is_waited_out(caplog: pytest.LogCaptureFixture) -> None:
    """The lost slice is deleted once, creation is tried again."""
    rig = Rig()
    rig.inventory.fail_next("create_slice", OutOfCapacityError("none left"), times=2)
    with rig.connected():
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(lambda: NEW in rig.inventory.names())
    assert rig.changes() == [("delete", "iris-tpu-1"), *[("create_slice", "tpu")] * 3]
    assert rig.warnings(caplog).count("none left") == 2


def test_what_is_refused_is_not_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """A slice that may not be deleted is not replaced either, and the user is told what to do."""
    rig = Rig()
    rig.inventory.fail_next("delete", PermissionDeniedError("no"), times=100)
    with rig.connected():
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(lambda: "iris up" in rig.warnings(caplog))
        rig.pass_time(12 * EVERY)
    assert rig.changes() == [("delete", "iris-tpu-1")]


def test_what_is_put_right_is_healed_again(caplog: pytest.LogCaptureFixture) -> None:
    """A login that expires is no end for good: after `gcloud auth login` and `iris up` the next loss is replaced."""
    rig = Rig(replace(CONFIG, workers=(replace(GROUP, count=2),)))
    rig.inventory.put_slice(make_slice("iris-tpu-2", group="tpu"))
    with rig.connected():
        rig.inventory.fail_next("create_slice", NotAuthenticatedError("it has expired"))
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(lambda: "trying again cannot help" in rig.warnings(caplog))
        rig.inventory.set_phase("iris-tpu-2", VmPhase.FAILED)
        rig.until(
            lambda: "iris-tpu-2 is preempted (PREEMPTED): it is not re-created, as was told" in rig.warnings(caplog)
        )
        rig.pass_time(6 * EVERY)
        assert NEW not in rig.inventory.names()
        rig.inventory.remove_slice("iris-tpu-2")
        rig.inventory.put_slice(make_slice("iris-tpu-3", group="tpu"))  # `iris up` in another terminal
        rig.inventory.put_slice(make_slice("iris-tpu-4", group="tpu"))
        rig.pass_time(2 * EVERY)
        rig.inventory.set_phase("iris-tpu-3", VmPhase.FAILED)
        rig.until(lambda: NEW in rig.inventory.names())
    assert "iris-tpu-3 is preempted (PREEMPTED): it is re-created" in rig.warnings(caplog)


def test_a_deletion_that_google_refuses_at_present_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """A queued resource that is just being suspended cannot be deleted yet."""
    rig = Rig()
    rig.inventory.fail_next("delete", InvalidRequestError("FAILED_PRECONDITION: it is SUSPENDING"))
    with rig.connected():
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(lambda: NEW in rig.inventory.names())
    assert rig.changes() == [*[("delete", "iris-tpu-1")] * 2, ("create_slice", "tpu")]
    assert "not re-created yet, next try in" in rig.warnings(caplog)


class BrokenInventory(FakeInventory):
    """Its next calls raise what no inventory should."""

    def __init__(self, method: str) -> None:
        super().__init__()
        self.method = method
        self.errors: list[Exception] = []

    def create_slice(self, group: WorkerGroupConfig) -> Slice:
        self.break_in("create_slice")
        return super().create_slice(group)

    def delete(self, resource: Resource) -> None:
        self.break_in("delete")
        super().delete(resource)

    def find_controller(self) -> ControllerVm | None:
        if threading.current_thread().name == "iris-healer":  # not for the watch, which asks, too
            self.break_in("find_controller")
        return super().find_controller()

    def owner(self) -> str:
        self.break_in("owner")
        return super().owner()

    def break_in(self, method: str) -> None:
        if method == self.method and self.errors:
            raise self.errors.pop()


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize("method", ["create_slice", "delete", "find_controller"])
def test_a_full_disk_is_waited_out(method: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is told as that, is no error in iris, and does not use up the budget."""
    inventory = BrokenInventory(method)
    rig = Rig(inventory=inventory)
    with rig.connected():
        inventory.errors = [FULL] * 5
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(lambda: NEW in rig.inventory.names(), 3600)
    assert rig.warnings(caplog).count("No space left on device") == 5
    assert "error in iris" not in rig.warnings(caplog)
    assert not any(record.exc_info for record in caplog.records)


@pytest.mark.parametrize("method", ["create_slice", "delete", "find_controller", "owner"])
def test_a_bug_ends_no_healing(method: str, caplog: pytest.LogCaptureFixture) -> None:
    """It is told with all that helps to find it, and what was not done for its sake is done later."""
    inventory = BrokenInventory(method)
    rig = Rig(inventory=inventory)
    with rig.connected():
        inventory.errors = [KeyError("id")]
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(lambda: NEW in rig.inventory.names(), 900)
    assert "error in iris" in rig.warnings(caplog)
    assert any(record.exc_info and record.name == "iris.cluster" for record in caplog.records)


def test_a_bug_costs_no_more_than_the_budget(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody knows whether what failed has created something."""
    inventory = BrokenInventory("create_slice")
    rig = Rig(inventory=inventory)
    with rig.connected():
        inventory.errors = [KeyError("id")] * 100
        inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.pass_time(3000)
    assert len(inventory.errors) == 97
    assert "most_recreations_per_hour" in rig.warnings(caplog)


@pytest.mark.parametrize("error", [FULL, KeyError("State")])
def test_what_cannot_be_kept_of_a_lost_slice_does_not_stop_its_replacement(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever goes wrong there, it is told."""

    def refuse(_loss: Loss) -> None:
        raise error

    rig = Rig()
    healer = Healer(
        groups=[GROUP],
        watch=ClusterWatch(rig.inventory, rig.clock, every_seconds=EVERY),
        inventory=rig.inventory,
        clock=rig.clock,
        orders=Orders(create=rig.inventory.create_slice, before_delete=refuse, is_unwanted=lambda: False),
    )
    healer.start()
    rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
    rig.until(lambda: NEW in rig.inventory.names())
    rig.apart(healer.stop)
    assert f"Not all that was to be kept of iris-tpu-1 is: {error}" in rig.warnings(caplog)


def test_a_cluster_that_somebody_else_deletes_does_not_come_back() -> None:
    """Slices that vanish with their controller are not created again."""
    rig = Rig()
    with rig.connected():
        rig.pass_time(2 * EVERY)
        rig.inventory.put_controller(None)
        rig.inventory.remove_slice("iris-tpu-1")
        rig.pass_time(12 * EVERY)
        assert rig.inventory.names() == []
    assert rig.changes() == []


class ForgetfulInventory(FakeInventory):
    """Its first request is accepted, and the answer lost."""

    def queue_slice(self, group: WorkerGroupConfig) -> QueuedSlice:
        made = super().queue_slice(group)
        if self.count("queue_slice") == 1:
            raise CloudUnavailableError("the line was cut")
        return made


class TestTheQueue:
    QUEUED = replace(CONFIG, workers=(replace(GROUP, queued=QueuedConfig()),))

    def test_a_request_whose_answer_was_lost_is_not_made_again(self, caplog: pytest.LogCaptureFixture) -> None:
        """The next try finds it waiting."""
        rig = Rig(self.QUEUED, ForgetfulInventory())
        with rig.connected():
            rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
            rig.until(lambda: f"In place of the slice iris-tpu-1, {NEW} waits already" in rig.warnings(caplog))
            lists = rig.inventory.count("list_queued")
            rig.pass_time(600)
        assert rig.calls("queue_slice", "delete") == [("delete", "iris-tpu-1"), ("queue_slice", "tpu")]
        assert rig.inventory.count("list_queued") - lists <= 11, "one look in a minute"

    def test_a_request_of_another_iris_is_not_made_again(self) -> None:
        """It has seen the loss first, deleted the slice, and asked for another."""
        rig = Rig(self.QUEUED)
        with rig.connected():
            rig.inventory.remove_slice("iris-tpu-1")
            rig.inventory.put_queued(make_queued_slice("iris-tpu-2", group="tpu", owner="me"))
            rig.pass_time(60)
        assert rig.calls("queue_slice", "delete") == []

    @pytest.mark.parametrize("failures", [0, 1])
    def test_a_request_that_comes_to_nothing_is_told_and_deleted(
        self, failures: int, caplog: pytest.LogCaptureFixture
    ) -> None:
        """It holds quota; why it failed is told, and what to do. One that cannot be deleted yet is deleted later."""
        rig = Rig(self.QUEUED)
        with rig.connected():
            rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
            rig.until(lambda: NEW in rig.inventory.names())
            [request] = rig.inventory.list_queued()
            rig.inventory.put_queued(replace(request, phase=VmPhase.FAILED, state="FAILED", problem="no such stock"))
            rig.inventory.fail_next("delete", InvalidRequestError("not now"), times=failures)
            rig.until(lambda: NEW not in rig.inventory.names(), 90 + 600 * failures)
            rig.pass_time(120)
        assert rig.warnings(caplog).count(f"The request {NEW} for a slice came to nothing") == 1 + failures
        assert "It is FAILED: no such stock. It has been deleted, `iris up` asks again" in rig.warnings(caplog)
        assert rig.inventory.count("queue_slice") == 1

    def test_a_request_that_somebody_deletes_is_told(self, caplog: pytest.LogCaptureFixture) -> None:
        """Once; nothing is asked for in its place."""
        rig = Rig(self.QUEUED)
        with rig.connected():
            rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
            rig.until(lambda: NEW in rig.inventory.names())
            rig.inventory.delete(rig.inventory.list_queued()[0])
            rig.pass_time(200)
        assert rig.warnings(caplog).count(f"The request {NEW} for a slice is no longer there") == 1
        assert rig.inventory.count("queue_slice") == 1

    def test_a_request_that_is_fulfilled_is_looked_at_no_more(self) -> None:
        """Its slice is in every look, and is replaced in its turn."""
        rig = Rig(self.QUEUED)
        with rig.connected():
            rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
            rig.until(lambda: NEW in rig.inventory.names())
            rig.inventory.fulfil(NEW)
            rig.pass_time(2 * EVERY)
            lists = rig.inventory.count("list_queued")
            rig.pass_time(200)
            assert rig.inventory.count("list_queued") == lists
            rig.inventory.set_phase(NEW, VmPhase.FAILED)
            rig.until(lambda: rig.inventory.count("queue_slice") == 2)
            assert NEW not in rig.inventory.names()


def test_a_slice_that_is_being_deleted_for_ever_holds_nothing_up_for_good(caplog: pytest.LogCaptureFixture) -> None:
    """Of whatever group: for whose sake nothing is re-created, and for how long, is told."""
    rig = Rig()
    rig.inventory.put_slice(make_slice("iris-old-1", group="old", phase=VmPhase.DELETING))
    with rig.connected():
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(lambda: "for up to 10 minutes: iris-old-1" in rig.warnings(caplog))
        rig.until(lambda: NEW in rig.inventory.names(), 660)
    assert rig.changes() == [("delete", "iris-tpu-1"), ("create_slice", "tpu")]
    assert rig.warnings(caplog).count("iris-old-1") == 1


def test_a_slice_that_keeps_dying_is_not_re_created_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    """Three in an hour, and then the user is told."""

    def stillborn(_group: WorkerGroupConfig, name: str) -> Slice:
        return make_slice(name, group="tpu", phase=VmPhase.FAILED)

    rig = Rig(inventory=FakeInventory(new_slice=stillborn))
    with rig.connected():
        rig.inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(lambda: "most_recreations_per_hour" in rig.warnings(caplog))
        rig.pass_time(12 * EVERY)
    assert rig.changes().count(("create_slice", "tpu")) == 3


class SlowInventory(FakeInventory):
    """Creates a slice only when it is told to, after it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.answer = threading.Event(), threading.Event()

    def create_slice(self, group: WorkerGroupConfig) -> Slice:
        self.asked.set()
        self.answer.wait(30)
        return super().create_slice(group)


def test_what_was_being_created_when_the_cluster_is_stopped_is_deleted_too() -> None:
    """However late it appears: a stop is not over before."""
    inventory = SlowInventory()
    rig = Rig(inventory=inventory)
    with rig.connected():
        inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(inventory.asked.is_set)
        stopping = threading.Thread(target=rig.manager.stop)
        stopping.start()
        rig.until(lambda: ("delete", "iris-controller-iris") in rig.changes())
        assert stopping.is_alive()
        inventory.answer.set()
        rig.until(lambda: not stopping.is_alive())
        assert inventory.names() == []
        rig.pass_time(5 * EVERY)
        assert inventory.names() == []
    assert rig.changes().count(("create_slice", "tpu")) == 1


def test_a_stop_that_cannot_look_once_still_deletes_what_comes_late() -> None:
    """While a slice is being created, a look that fails is taken again."""
    inventory = SlowInventory()
    rig = Rig(inventory=inventory)
    with rig.connected():
        inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(inventory.asked.is_set)
        inventory.fail_next("list_resources", CloudUnavailableError("a blip"))
        stopping = threading.Thread(target=rig.manager.stop)
        stopping.start()
        rig.until(lambda: ("delete", "iris-controller-iris") in rig.changes())
        inventory.answer.set()
        rig.until(lambda: not stopping.is_alive())
        assert inventory.names() == []


def test_leaving_does_not_wait_for_what_is_being_created(caplog: pytest.LogCaptureFixture) -> None:
    """It belongs to the cluster that is left running; the user hears of it."""
    inventory = SlowInventory()
    rig = Rig(inventory=inventory)
    with rig.connected():
        inventory.set_phase("iris-tpu-1", VmPhase.FAILED)
        rig.until(inventory.asked.is_set)
        begun = rig.clock.monotonic()
    assert rig.clock.monotonic() - begun < 30
    assert "still happens" in rig.warnings(caplog)
    inventory.answer.set()
