"""The handle: two threads that end when told to, whatever the hosts and the inventory do."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock, FakeDockerEngine, FakeInventory, FakeShell, make_controller, make_slice
from iris_core.config import ClusterConfig, GcpConfig, LogConfig, Mode
from iris_core.errors import InventoryError, LogFileError
from iris_core.log_file import LandedFile
from iris_core.log_pump import LogPump
from iris_core.log_streaming import LogStreamHandle, open_log_streaming

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from iris_core.log_events import LogEvent
    from iris_core.model import Slice

EVERY = LogConfig().discovery_seconds
DRAIN = LogConfig().drain_seconds
CONFIG = ClusterConfig(mode=Mode.GCP, gcp=GcpConfig(project_id="project", zone="us-central1-a"))


class StreamRig:
    """A running handle on fakes; every host has the same engine. Time passes in `pass_time`, and by itself in `stop`."""

    def __init__(self, directory: Path, inventory: FakeInventory | None = None) -> None:
        self.directory = directory
        self.clock = FakeClock()
        self.engine = FakeDockerEngine()
        self.shell = FakeShell(starts=[self.engine.script()])
        self.inventory = inventory or FakeInventory(
            controller=make_controller(), slices=[make_slice("iris-tpu-1", hosts=2)]
        )
        self.events: list[LogEvent] = []
        self.handle: LogStreamHandle

    def begin(self) -> LogStreamHandle:
        self.handle = open_log_streaming(
            config=CONFIG,
            shell=self.shell,
            inventory=self.inventory,
            clock=self.clock,
            output_dir=self.directory,
            controller_container="boss",
            worker_container="hand",
            on_event=self.events.append,
        )
        return self.handle

    def pass_time(self, seconds: float, step: float = 0.5) -> None:
        """Let so many seconds pass, in steps after each of which both threads have come to rest."""
        for _ in range(round(seconds / step)):
            self.clock.wait_until_waiting(2)
            self.clock.advance(step)
        self.clock.wait_until_waiting(2)

    def stop(self) -> float:
        """Stop, and return how many (fake) seconds that took at most."""
        begun, done = self.clock.monotonic(), threading.Event()

        def stop() -> None:
            self.handle.stop()
            done.set()

        thread = threading.Thread(target=stop)
        thread.start()
        while not done.wait(0.002):
            if (
                self.clock.waiters
            ):  # else a thread has something to do, and must not find that time has passed meanwhile
                self.clock.advance(0.5)
        thread.join()
        return self.clock.monotonic() - begun

    def problems(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [text for text in map(str, caplog.messages) if text.startswith("Not everything")]


def wait_for_end() -> None:
    """Every thread of the streaming ends, the discovery's perhaps a moment after `stop`."""
    deadline = time.monotonic() + 10
    while threads() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threads() == []


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("iris-log")]


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[StreamRig]:
    made = StreamRig(tmp_path)
    yield made
    if hasattr(made, "handle"):
        made.stop()
    wait_for_end()
    assert made.shell.running() == []


def test_two_threads_however_many_hosts(rig: StreamRig) -> None:
    """A hundred hosts do not cost a hundred threads, and none is left when it ends; stopping twice is once."""
    rig.inventory.put_slice(make_slice("big", hosts=100))
    handle = rig.begin()
    rig.clock.wait_until_waiting(2)
    assert sorted(threads()) == ["iris-log-discovery", "iris-log-pump"]
    assert handle.running
    assert len(handle.discovered_workers()) == 102
    rig.stop()
    handle.stop()
    wait_for_end()
    assert not handle.running


def test_stop_at_once_lands_what_there_is(rig: StreamRig) -> None:
    """A stop right after the start still finds the hosts and takes their logs."""
    said = rig.engine.create("boss").write(b"hello\n")
    rig.begin()
    rig.stop()
    assert (rig.directory / "controller-logs.txt").read_bytes() == said.landed


def test_dead_hosts_delay_the_end_by_the_drain_and_no_more(rig: StreamRig, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody answers any more: the end comes in `drain_seconds`, and the warning names every source that was not drained."""
    rig.engine.create("boss")
    rig.begin()
    rig.clock.wait_until_waiting(2)
    for name in ("iris-controller-iris", "iris-tpu-1-w0", "iris-tpu-1-w1"):
        rig.shell.break_host(name)
        rig.shell.drop(name)
    rig.clock.wait_until_waiting(2)
    assert rig.stop() < 2 * DRAIN  # on a busy machine, fake time passes before the threads notice
    [problem] = rig.problems(caplog)
    for source in ("controller-logs", "workers/iris-tpu-1-w0", "workers/iris-tpu-1-w1"):
        assert f"{source}: not-drained" in problem


def test_an_end_in_order_warns_of_nothing(rig: StreamRig, caplog: pytest.LogCaptureFixture) -> None:
    """Live hosts are drained at once."""
    rig.engine.create("boss")
    rig.engine.create("hand")
    rig.begin()
    rig.clock.wait_until_waiting(2)
    assert rig.stop() < DRAIN
    assert rig.problems(caplog) == []


@pytest.mark.parametrize("hosts", [1, 100])
def test_discovery_costs_the_same_however_many_workers(tmp_path: Path, hosts: int) -> None:
    """One question for the slices at each look, and one in six looks for the controller."""
    rig = StreamRig(
        tmp_path, FakeInventory(controller=make_controller(), slices=[make_slice(f"s{n}") for n in range(hosts)])
    )
    rig.begin()
    rig.pass_time(12 * EVERY, step=EVERY)
    assert rig.inventory.count("list_slices") == 13
    assert rig.inventory.count("find_controller") == 3
    rig.stop()


def test_workers_come_and_go(rig: StreamRig) -> None:
    """A slice that appears later is captured from its first line; one that goes is let go."""
    rig.begin()
    rig.clock.wait_until_waiting(2)
    said = rig.engine.create("hand").write(b"hello\n")
    rig.inventory.put_slice(make_slice("late"))
    rig.inventory.remove_slice("iris-tpu-1")
    rig.pass_time(2 * EVERY)
    assert rig.handle.discovered_workers() == ["iris-tpu-1-w0", "iris-tpu-1-w1", "late-w0"]
    assert (rig.directory / "workers" / "late-w0.txt").read_bytes() == said.landed
    assert {process.host.name for process in rig.shell.running()} == {"iris-controller-iris", "late-w0"}


def test_a_silent_inventory_is_asked_less_often_and_stops_nothing(
    rig: StreamRig, caplog: pytest.LogCaptureFixture
) -> None:
    """While the cloud does not answer, what is captured goes on; the looks become rare, and are frequent again afterwards."""
    container = rig.engine.create("boss")
    rig.begin()
    rig.clock.wait_until_waiting(2)
    rig.inventory.fail_next("list_slices", times=5)
    rig.pass_time(2 * EVERY)
    said = container.write(b"meanwhile\n")
    rig.pass_time(5)
    assert (rig.directory / "controller-logs.txt").read_bytes() == said.landed
    rig.pass_time(18 * EVERY - 5, step=5)
    assert rig.inventory.count("list_slices") == 6  # after 0, 1, 3, 7, 13 and 19 intervals
    rig.pass_time(10 * EVERY, step=5)
    assert rig.inventory.count("list_slices") == 12  # after 25, 26 … 30
    assert caplog.text.count("is not known at the moment") == 5
    assert rig.stop() < DRAIN
    assert rig.problems(caplog) == []


def test_an_inventory_that_never_answered_is_told_at_the_end(rig: StreamRig, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing was captured at all: that is not an end in order."""
    rig.inventory.fail_next("list_slices", InventoryError("no permission"), times=100)
    rig.begin()
    rig.clock.wait_until_waiting(2)
    rig.stop()
    [problem] = rig.problems(caplog)
    assert "no permission" in problem


def test_workers_are_captured_where_the_controller_is_not_known(rig: StreamRig) -> None:
    """One question that fails does not spoil the answer to the other."""
    said = rig.engine.create("hand").write(b"hello\n")
    rig.inventory.fail_next("find_controller", times=100)
    rig.begin()
    rig.clock.wait_until_waiting(2)
    assert (rig.directory / "workers" / "iris-tpu-1-w1.txt").read_bytes() == said.landed


class SlowInventory(FakeInventory):
    """Answers the first question, and the others only when it is told to."""

    def __init__(self) -> None:
        super().__init__(controller=make_controller())
        self.asked_again, self.answer = threading.Event(), threading.Event()

    def list_slices(self) -> Sequence[Slice]:
        if self.count("list_slices"):
            self.asked_again.set()
            self.answer.wait(10)
        return super().list_slices()


def test_what_is_captured_is_drained_while_the_inventory_hangs(tmp_path: Path) -> None:
    """A question that takes a minute does not keep the last lines on the hosts for a minute."""
    inventory = SlowInventory()
    rig = StreamRig(tmp_path, inventory)
    container = rig.engine.create("boss")
    handle = rig.begin()
    rig.clock.wait_until_waiting(2)
    rig.clock.advance(EVERY)
    assert inventory.asked_again.wait(10)
    rig.clock.wait_until_waiting(1)
    said = container.write(b"last words\n")
    drained = threading.Event()
    rig.events.clear()
    stopping = threading.Thread(target=handle.stop)
    stopping.start()
    for _ in range(2000):
        if any(event.kind.value == "drained" for event in rig.events):
            drained.set()
            break
        rig.clock.advance(0.01)
        drained.wait(0.001)
    assert drained.is_set()
    assert (tmp_path / "controller-logs.txt").read_bytes() == said.landed
    inventory.answer.set()
    stopping.join(10)
    wait_for_end()


def test_a_directory_that_cannot_be_made_starts_nothing(tmp_path: Path) -> None:
    """The error comes from the call, before a thread is started."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LogFileError, match="file"):
        StreamRig(tmp_path / "file").begin()
    wait_for_end()


def test_a_capture_that_has_died_says_so(
    rig: StreamRig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A fault that is no source's own ends all: the handle does not run any more, each source is told of, and its file is free."""
    rig.engine.create("boss").write(b"hello\n")
    handle = rig.begin()
    rig.clock.wait_until_waiting(2)

    def fails(_: LogPump) -> float | None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(LogPump, "step", fails)
    rig.engine.create("hand")
    rig.shell.drop("iris-controller-iris")
    deadline = time.monotonic() + 10
    while handle.running and time.monotonic() < deadline:
        time.sleep(0.001)
    assert not handle.running
    rig.stop()
    wait_for_end()
    assert {event.source for event in rig.events if event.kind.value == "not-drained"} >= {
        "controller-logs",
        "workers/iris-tpu-1-w0",
    }
    LandedFile(rig.directory / "controller-logs.txt").close()
    [problem] = rig.problems(caplog)
    assert "ZeroDivisionError" in problem
    assert [record for record in caplog.records if record.exc_info and record.name == "iris.logs"]
