"""What streams of a cluster, from a directory as a real capture leaves it and the inventory's word."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock, FakeDockerEngine, FakeShell, make_controller, make_slice
from iris_adapters.system_clock import SystemClock
from iris_core.cluster_capture import ClusterCapture
from iris_core.cluster_status import stream_status
from iris_core.config import LogConfig
from iris_core.errors import LogFileError
from iris_core.model import HostRole, VmPhase
from iris_core.source_status import SourceState

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from iris_core.model import Resource
    from iris_core.source_status import SourceStatus

CONTROLLER = make_controller()
SLICE = make_slice("iris-tpu-1", hosts=2)


class Rig:
    """A capture of a cluster on a fake engine."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.engine = FakeDockerEngine()
        self.engine.create("iris-controller").write(b"hello\n")
        self.worker = self.engine.create("iris-worker")
        self.clock = FakeClock(auto_advance=True)

    def capture(self, *, fresh: bool = False) -> ClusterCapture:
        capture = ClusterCapture(
            config=LogConfig(container_label=None),
            shell=FakeShell(starts=[self.engine.script()]),
            clock=self.clock,
            output_dir=self.directory,
            containers={HostRole.CONTROLLER: "iris-controller", HostRole.WORKER: "iris-worker"},
            fresh=fresh,
        )
        capture.adopt([SLICE], CONTROLLER)
        for _ in range(50):
            capture.pump.step()
        return capture

    def end(self, capture: ClusterCapture) -> None:
        capture.drain()
        capture.pump.run_until_done()

    def states(self, resources: Sequence[Resource] = (SLICE, CONTROLLER)) -> dict[str, SourceState]:
        return {status.source: status.state for status in self.status(resources)}

    def status(self, resources: Sequence[Resource] = (SLICE, CONTROLLER)) -> list[SourceStatus]:
        return stream_status(self.directory, resources, SystemClock().now())


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def test_a_running_capture_streams_and_an_ended_one_does_not(rig: Rig) -> None:
    """The lock on the landed file says whether anybody captures."""
    rig.worker.write(b"work\n")
    capture = rig.capture()
    assert set(rig.states().values()) == {SourceState.STREAMING}
    assert set(rig.states()) == {"controller-logs", "workers/iris-tpu-1-w0", "workers/iris-tpu-1-w1"}
    rig.end(capture)
    assert set(rig.states().values()) == {SourceState.NOT_CAPTURED}


def test_silence_is_since_the_last_line_landed(rig: Rig) -> None:
    """By the landed file's time; where nothing has landed, since the capture began."""
    capture = rig.capture()
    landed = rig.directory / "controller-logs.txt"
    os.utime(landed, (landed.stat().st_atime, landed.stat().st_mtime - 120))
    by_source = {status.source: status for status in rig.status()}
    assert by_source["controller-logs"].state is SourceState.QUIET
    assert 119 < (by_source["controller-logs"].silent_seconds or 0) < 130
    assert (by_source["workers/iris-tpu-1-w0"].silent_seconds or 0) > 1000  # the fake clock's new year
    rig.end(capture)


def test_an_exit_is_told_with_its_code(rig: Rig) -> None:
    """Also after the capture has ended."""
    rig.worker.stop(137, oom_killed=True)
    rig.end(rig.capture())
    assert rig.states()["workers/iris-tpu-1-w1"] is SourceState.OOM_KILLED


def test_the_machines_come_first(rig: Rig) -> None:
    """A preempted slice and a controller that is gone explain more than any event."""
    rig.end(rig.capture())
    preempted = make_slice("iris-tpu-1", hosts=2, phase=VmPhase.FAILED)
    assert rig.states([preempted]) == {
        "controller-logs": SourceState.VM_GONE,
        "workers/iris-tpu-1-w0": SourceState.PREEMPTED,
        "workers/iris-tpu-1-w1": SourceState.PREEMPTED,
    }


def test_a_host_of_which_nothing_landed_is_told(rig: Rig) -> None:
    """What should stream and does not is what one looks for; a machine that does not run need not."""
    rig.end(rig.capture())
    stopped = make_slice("iris-tpu-3", phase=VmPhase.STOPPED)
    later: list[Resource] = [SLICE, CONTROLLER, make_slice("iris-tpu-2"), stopped]
    added = [status for status in rig.status(later) if status.host.startswith(("iris-tpu-2", "iris-tpu-3"))]
    assert [(status.source, status.why) for status in added] == [
        ("workers/iris-tpu-2-w0", "nothing of it has landed here")
    ]


def test_the_newest_of_fresh_files_counts(rig: Rig) -> None:
    """`--fresh` begins others beside the old ones: one source, one status."""
    rig.end(rig.capture())
    capture = rig.capture(fresh=True)
    status = rig.status()
    assert [one.path.name for one in status] == ["controller-logs~2.txt", "iris-tpu-1-w0~2.txt", "iris-tpu-1-w1~2.txt"]
    assert status[0].source == "controller-logs"
    rig.end(capture)


def test_a_directory_that_is_none_is_an_error(rig: Rig, tmp_path: Path) -> None:
    """A typo is told, not taken for silence."""
    rig.directory = tmp_path / "nowhere"
    with pytest.raises(LogFileError, match="nowhere"):
        rig.status()
