"""Snapshots and blocking streams, over the same capture, on fakes."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import (
    FakeClock,
    FakeDockerEngine,
    FakeInventory,
    FakeShell,
    make_controller,
    make_host,
    make_slice,
)
from iris_core.config import ClusterConfig, GcpConfig, Mode
from iris_core.errors import EngineError, HostUnreachableError
from iris_core.log_collection import collect_cluster_logs, collect_log, stream_log
from iris_core.log_file import LandedFile

if TYPE_CHECKING:
    from pathlib import Path

HOST = make_host("iris-controller-iris")


@pytest.fixture
def engine() -> FakeDockerEngine:
    return FakeDockerEngine()


def collect(engine: FakeDockerEngine, path: Path, shell: FakeShell | None = None) -> int:
    return collect_log(
        shell=shell or FakeShell(starts=[engine.script()]),
        clock=FakeClock(auto_advance=True),
        host=HOST,
        container="job",
        path=path,
        use_sudo=False,
        timeout_seconds=10,
    )


def stream(engine: FakeDockerEngine, clock: FakeClock, path: Path, *, stop: threading.Event | None) -> int:
    return stream_log(
        shell=FakeShell(starts=[engine.script()]),
        clock=clock,
        host=HOST,
        container="job",
        path=path,
        use_sudo=False,
        drain_seconds=10,
        stop=stop,
    )


def test_collects_what_is_there_and_the_rest_the_next_time(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """A snapshot ends by itself, also while the container runs, and a second one continues the file."""
    container = engine.create("job")
    container.write(b"one\n")
    assert collect(engine, tmp_path / "job.txt") == 1
    container.write(b"two\n")
    assert collect(engine, tmp_path / "job.txt") == 1
    assert (tmp_path / "job.txt").read_bytes() == b"".join(entry.landed for entry in container.written)


def test_no_such_container_is_an_error(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """Nothing there is not an empty log."""
    with pytest.raises(EngineError, match="there is no container 'job'"):
        collect(engine, tmp_path / "job.txt")


def test_an_unreadable_log_is_an_error(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """The engine's refusal is told in its words."""
    engine.create("job")
    engine.refuse_logs = "configured logging driver does not support reading"
    with pytest.raises(EngineError, match="does not support reading"):
        collect(engine, tmp_path / "job.txt")


def test_an_unreachable_host_is_an_error_in_time(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """A dead host ends the snapshot when its time is over."""
    shell = FakeShell(starts=[engine.script()], unreachable=[HOST.name])
    with pytest.raises(HostUnreachableError, match="did not answer within 10 s"):
        collect(engine, tmp_path / "job.txt", shell)


def test_a_stream_without_an_event_ends_with_its_container(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """It waits for the container to come, and returns when it has ended and its log has landed."""
    clock = FakeClock(auto_advance=True)

    def run_job() -> None:
        container = engine.create("job")
        container.write(b"one\n")

        def end_job() -> None:
            container.write(b"two\n")
            container.stop()

        clock.call_later(3, end_job)

    clock.call_later(7, run_job)
    assert stream(engine, clock, tmp_path / "job.txt", stop=None) == 2


@pytest.mark.timeout(10)
def test_a_stream_of_a_container_whose_end_has_landed_ends_at_once(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """A second call on the same file has nothing to wait for: until the container is started again."""
    container = engine.create("job")
    container.write(b"one\n")
    container.stop()
    clock = FakeClock(auto_advance=True)
    assert stream(engine, clock, tmp_path / "job.txt", stop=None) == 1
    before = clock.monotonic()
    assert stream(engine, clock, tmp_path / "job.txt", stop=None) == 0
    assert clock.monotonic() - before < 1

    def end_again() -> None:
        container.write(b"two\n")
        container.stop()

    container.start()
    clock.call_later(3, end_again)
    assert stream(engine, clock, tmp_path / "job.txt", stop=None) == 1


@pytest.mark.timeout(10)
def test_a_stream_of_a_container_that_is_removed_as_it_ends_ends(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """`docker run --rm`: its end may never be read. One that was removed before is waited for, as one that never was."""
    clock = FakeClock(auto_advance=True)

    def run_job() -> None:
        container = engine.create("job")
        container.write(b"one\n")
        clock.call_later(3, lambda: engine.remove(container))

    for _ in range(2):
        clock.call_later(7, run_job)
        assert stream(engine, clock, tmp_path / "job.txt", stop=None) == 1


@pytest.mark.parametrize("interrupted_at", range(1, 7))
def test_an_interrupted_stream_leaves_no_lock_and_no_process(
    engine: FakeDockerEngine, tmp_path: Path, interrupted_at: int
) -> None:
    """Ctrl-C in a notebook: the same log can be landed again at once."""
    engine.create("job").write(b"one\n")
    shell = FakeShell(starts=[engine.script()])
    waits = itertools.count(1)

    class InterruptedClock(FakeClock):
        def wait(self, event: threading.Event, seconds: float | None) -> bool:
            if next(waits) == interrupted_at:
                raise KeyboardInterrupt
            return super().wait(event, seconds)

    with pytest.raises(KeyboardInterrupt):
        stream_log(
            shell=shell,
            clock=InterruptedClock(auto_advance=True),
            host=HOST,
            container="job",
            path=tmp_path / "job.txt",
            use_sudo=False,
            drain_seconds=10,
            stop=None,
        )
    assert shell.running() == []
    collect(engine, tmp_path / "job.txt", shell)
    assert (tmp_path / "job.txt").read_bytes().count(b"\n") == 1


def test_a_stream_with_an_event_ends_when_it_is_set(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """What the engine holds at that moment is landed before it returns, although the container runs on."""
    clock = FakeClock(auto_advance=True)
    container = engine.create("job")
    stop = threading.Event()

    def last_words() -> None:
        container.write(b"last\n")
        stop.set()

    clock.call_later(5, last_words)
    assert stream(engine, clock, tmp_path / "job.txt", stop=stop) == 1
    assert clock.monotonic() < 6


def test_collects_a_whole_cluster_and_names_what_it_could_not(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """Controller and every worker host are landed; a dead host does not keep the others' logs back, and is named."""
    for name in ("iris-controller", "iris-worker"):
        engine.create(name).write(name.encode() + b"\n")
    shell = FakeShell(starts=[engine.script()], unreachable=["iris-tpu-1-w1"])
    problems = collect_cluster_logs(
        config=ClusterConfig(mode=Mode.GCP, gcp=GcpConfig(project_id="p", zone="z")),
        shell=shell,
        inventory=FakeInventory(slices=[make_slice("iris-tpu-1", 2)], controller=make_controller()),
        clock=FakeClock(auto_advance=True),
        output_dir=tmp_path,
        controller_container="iris-controller",
        worker_container="iris-worker",
    )
    assert b"F iris-controller\n" in (tmp_path / "controller-logs.txt").read_bytes()
    assert b"F iris-worker\n" in (tmp_path / "workers" / "iris-tpu-1-w0.txt").read_bytes()
    [problem] = problems
    assert problem.startswith("workers/iris-tpu-1-w1: not-drained")


@pytest.mark.parametrize("ends", [True, False])
def test_a_fault_is_raised(
    engine: FakeDockerEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, ends: bool
) -> None:
    """Neither a snapshot nor a stream that waits for the container's end outlives its only source."""

    def fails(*_: object) -> None:
        raise ZeroDivisionError("a fault")

    monkeypatch.setattr(LandedFile, "append", fails)
    engine.create("job").write(b"line\n")
    clock, path = FakeClock(auto_advance=True), tmp_path / "job.txt"
    with pytest.raises(ZeroDivisionError):
        collect(engine, path) if ends else stream(engine, clock, path, stop=None)
