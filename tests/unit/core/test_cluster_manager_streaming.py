"""Log streaming as the manager's callers see it: with the real machinery on a pretended Docker engine."""

from __future__ import annotations

import inspect
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import ExchangeScript, FakeClock, FakeInventory, FakeShell, make_controller, make_slice
from iris_adapters.fakes.docker_engine import FakeDockerEngine
from iris_core.cluster_manager import ClusterManager
from iris_core.config import (
    ClusterConfig,
    ContainerConfig,
    ControllerConfig,
    GcpConfig,
    Mode,
    WorkerGroupConfig,
)
from iris_core.errors import ConfigError, LogFileLockedError
from tests.unit.core.jobs_api import controller_answers, http_reply

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from iris_core.log_streaming import LogStreamHandle
    from iris_core.model import Resource

GROUP = WorkerGroupConfig(name="tpu", accelerator_type="v5litepod-8", runtime_version="v2-alpha-tpuv5-lite", count=1)
GCP = ClusterConfig(
    mode=Mode.GCP,
    gcp=GcpConfig(project_id="project", zone="us-central1-a"),
    controller=ControllerConfig(container=ContainerConfig(command=())),
    workers=(GROUP,),
)


def named(controller: str | None, *workers: str | None) -> ClusterConfig:
    """A configuration whose containers have these names."""
    return replace(
        GCP,
        controller=ControllerConfig(container=ContainerConfig(name=controller, command=())),
        workers=tuple(
            replace(GROUP, name=f"g{index}", count=0, container=ContainerConfig(name=name))
            for index, name in enumerate(workers)
        ),
    )


def wait_for_end() -> None:
    """Every thread of the streaming ends, the discovery's perhaps a moment after `stop`."""
    deadline = time.monotonic() + 10
    while streaming_threads() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert streaming_threads() == []


def streaming_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("iris-log")]


class Rig:
    """A manager on fakes; every host has the same engine."""

    def __init__(self, config: ClusterConfig = GCP) -> None:
        self.clock = FakeClock()
        self.engine = FakeDockerEngine()
        self.shell = FakeShell(starts=[self.engine.script()], exchanges=[controller_answers()])
        self.inventory = FakeInventory(
            controller=make_controller(), slices=[make_slice("iris-tpu-1", hosts=2, group="tpu")]
        )
        self.manager = ClusterManager(config, self.shell, self.inventory, self.clock)

    def start(self, output_dir: Path, **containers: str) -> LogStreamHandle:
        """Begin to stream, and wait until discovery has looked and the pump has nothing more to do."""
        handle = self.manager.start_log_streaming(output_dir, **containers)
        assert handle is not None
        self.clock.wait_until_waiting(2)
        return handle


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.manager.stop()
    wait_for_end()


def test_the_signature_is_the_specifications() -> None:
    """The defaults can be read off the method."""
    parameters = inspect.signature(ClusterManager.start_log_streaming).parameters

    assert [(name, parameter.default) for name, parameter in parameters.items()][2:] == [
        ("controller_container", "iris-controller"),
        ("worker_container", "iris-worker"),
    ]


def test_streaming_starts_and_stop_joins(rig: Rig, tmp_path: Path) -> None:
    """With a GCP-shaped configuration every host is followed to its own file, and stop ends every thread."""
    controller, worker = rig.engine.create("iris-controller"), rig.engine.create("iris-worker")

    handle = rig.start(tmp_path)
    assert len(streaming_threads()) == 2
    assert handle.discovered_workers() == ["iris-tpu-1-w0", "iris-tpu-1-w1"]
    said, done = controller.write(b"hello\n"), worker.write(b"work\n")
    handle.stop()

    assert not handle.running
    wait_for_end()
    assert rig.shell.running() == []
    assert (tmp_path / "controller-logs.txt").read_bytes() == said.landed
    assert {path.name: path.read_bytes() for path in (tmp_path / "workers").glob("*.txt")} == {
        "iris-tpu-1-w0.txt": done.landed,
        "iris-tpu-1-w1.txt": done.landed,
    }


def test_local_mode_has_no_streaming(tmp_path: Path) -> None:
    """In local mode there is no handle, no thread, no directory, and connect(log_dir) works all the same."""
    rig = Rig(ClusterConfig(mode=Mode.LOCAL))

    assert rig.manager.start_log_streaming(tmp_path / "logs") is None
    with rig.manager.connect(tmp_path / "logs") as url:
        assert url.startswith("http://127.0.0.1:")
        wait_for_end()

    assert not (tmp_path / "logs").exists()


def test_connect_streams_and_stops(rig: Rig, tmp_path: Path) -> None:
    """connect(log_dir) lands what is written until its end."""
    container = rig.engine.create("iris-controller")

    with rig.manager.connect(tmp_path):
        rig.clock.wait_until_waiting(2)
        entry = container.write(b"last words\n")

    wait_for_end()
    assert (tmp_path / "controller-logs.txt").read_bytes() == entry.landed


class _NotesDeletions(FakeInventory):
    """An inventory of an empty cluster that remembers when it was asked to delete something."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self.deleted_at: list[float] = []
        self._clock = clock

    def delete(self, resource: Resource) -> None:
        self.deleted_at.append(self._clock.monotonic())
        super().delete(resource)


@pytest.mark.parametrize("end_seconds", [3.0, None])
def test_a_host_that_does_not_answer_holds_up_the_deletion_for_so_long(
    rig: Rig, tmp_path: Path, end_seconds: float | None
) -> None:
    """Who has the time waits until nothing more is to be had; what the others have to say is landed in either case."""
    rig.inventory = inventory = _NotesDeletions(rig.clock)
    rig.manager = ClusterManager(replace(GCP, workers=(replace(GROUP, count=2),)), rig.shell, inventory, rig.clock)
    container = rig.engine.create("iris-worker")
    done = threading.Event()

    def leave() -> None:
        connection.__exit__(None, None, None)
        done.set()

    connection = rig.manager.connect(tmp_path, end_seconds=end_seconds)
    connection.__enter__()
    rig.clock.wait_until_waiting(2)
    dead, alive = (slice_.hosts[0].name for slice_ in inventory.list_slices())
    rig.shell.break_host(dead)
    rig.shell.drop(dead)
    rig.clock.wait_until_waiting(2)
    entry, left_at = container.write(b"last words\n"), rig.clock.monotonic()
    thread = threading.Thread(target=leave)
    thread.start()
    drain_seconds, patience = GCP.logs.drain_seconds, time.monotonic() + 10
    while not done.wait(0.002):
        is_due = end_seconds is not None and rig.clock.monotonic() - left_at > drain_seconds - 1
        if rig.clock.waiters and not (is_due and not inventory.deleted_at and time.monotonic() < patience):
            rig.clock.advance(0.5)
    thread.join()

    waited = inventory.deleted_at[0] - left_at
    assert waited >= drain_seconds if end_seconds is None else end_seconds <= waited < drain_seconds
    assert (tmp_path / "workers" / f"{alive}.txt").read_bytes() == entry.landed
    assert inventory.names() == []
    assert rig.shell.running() == []


def test_connect_stops_streaming_when_the_body_raises(rig: Rig, tmp_path: Path) -> None:
    """An error in the body does not keep the last lines from being landed."""
    container = rig.engine.create("iris-controller")

    def fail() -> None:
        rig.clock.wait_until_waiting(2)
        container.write(b"last words\n")
        raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"), rig.manager.connect(tmp_path):
        fail()

    wait_for_end()
    assert b"last words" in (tmp_path / "controller-logs.txt").read_bytes()


def test_streaming_begins_before_the_controller_answers(rig: Rig, tmp_path: Path) -> None:
    """A controller that never comes up leaves its log: streaming runs while the tunnel is being proven."""
    seen: list[int] = []

    def answer(_: bytes) -> bytes:
        seen.append(len(streaming_threads()))
        return http_reply()

    rig.shell.script(ExchangeScript(answers=[answer]))

    with rig.manager.connect(tmp_path):
        pass

    assert seen == [2]


def test_a_second_stream_into_the_same_directory_is_refused(rig: Rig, tmp_path: Path) -> None:
    """Two writers of one file would double every line; when the first has stopped, or elsewhere, it is allowed."""
    first = rig.start(tmp_path / "logs")
    assert first.running

    with pytest.raises(LogFileLockedError, match="already"):
        rig.manager.start_log_streaming(tmp_path / "x" / ".." / "logs")
    other = rig.manager.start_log_streaming(tmp_path / "other")
    assert other is not None
    other.stop()
    first.stop()

    rig.start(tmp_path / "logs").stop()


def test_stop_ends_what_still_streams(rig: Rig, tmp_path: Path) -> None:
    """A forgotten handle does not outlive the cluster, and its last lines are landed before the VMs go."""
    container = rig.engine.create("iris-controller")
    handle = rig.start(tmp_path)
    entry = container.write(b"last words\n")

    rig.manager.stop()

    assert not handle.running
    assert (tmp_path / "controller-logs.txt").read_bytes() == entry.landed
    assert rig.inventory.names() == []


@pytest.mark.parametrize(
    ("config", "given", "controller", "worker"),
    [
        (GCP, {}, "iris-controller", "iris-worker"),
        (named("boss", "hand"), {}, "boss", "hand"),
        (named("boss", "hand", "hand"), {"worker_container": "iris-worker"}, "boss", "iris-worker"),
        (named("boss"), {"controller_container": "iris-controller"}, "iris-controller", "iris-worker"),
        (named(None, "a", None), {"worker_container": "a"}, "iris-controller", "a"),
    ],
)
def test_whose_container_names_count(
    tmp_path: Path, config: ClusterConfig, given: dict[str, str], controller: str, worker: str
) -> None:
    """Given names win, even if they are the defaults; then the configuration's; then the defaults."""
    rig = Rig(config)

    rig.start(tmp_path, **given).stop()

    asked = {target.split("/")[2] for target in rig.engine.requests if target.endswith("/json")}
    assert asked == {controller, worker}


def test_groups_with_different_names_are_a_mistake_told_before_anything_is_created(tmp_path: Path) -> None:
    """One name is followed on all workers; a configuration with two must be told so before it costs money."""
    rig = Rig(named(None, "a", "b"))
    calls = list(rig.inventory.calls)

    with pytest.raises(ConfigError, match="a, b"):
        rig.manager.start_log_streaming(tmp_path)
    with pytest.raises(ConfigError, match="a, b"), rig.manager.connect(tmp_path):
        pytest.fail("the body must not run")

    assert rig.inventory.calls == calls
