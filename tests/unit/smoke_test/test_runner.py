"""The smoke test as a whole, on fakes: its phases, its exit codes, and what it leaves."""

from __future__ import annotations

import io
import logging
import signal
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from iris_adapters.container import IrisContainer, build_container
from iris_adapters.controller.wire import JobRequest, JobStatus
from iris_adapters.fakes import FakeDockerEngine, FakeInventory, FakeShell, make_controller, make_slice
from iris_adapters.smoke_test.interruption import Interrupted
from iris_adapters.smoke_test.runner import SmokeTestOptions, run_smoke_test
from iris_core.config import ClusterConfig, ContainerConfig, ControllerConfig, GcpConfig, Mode
from iris_core.errors import InventoryToolError, LogFileError, OutOfCapacityError
from tests.unit.core.jobs_api import controller_answers
from tests.unit.smoke_test.fake_jobs import FakeJobs, Play, honest, lands

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX = "iris-smoke"
GCP = ClusterConfig(
    mode=Mode.GCP,
    label_prefix=PREFIX,
    gcp=GcpConfig(project_id="project", zone="us-central1-a"),
    controller=ControllerConfig(container=ContainerConfig(command=())),
)


@dataclass
class Rig:
    """A smoke test of a pretended GCP cluster."""

    root: Path
    play: Callable[[JobRequest], Play] = honest
    options: dict[str, float | bool] = field(default_factory=dict)
    inventory: FakeInventory = field(default_factory=lambda: FakeInventory(label_prefix=PREFIX))
    terminal: io.StringIO = field(default_factory=io.StringIO)
    leave: Callable[[int, str], None] | None = None

    def run(self) -> int:
        """Run it to its exit code."""
        container = self.container()
        try:
            options = SmokeTestOptions(log_dir=self.root, down="iris down -c it", **self.options)  # type: ignore[arg-type]  # per key it fits
            return run_smoke_test(container, options, self.terminal, leave=self.leave)
        finally:
            container.shutdown_resources()

    def container(self) -> IrisContainer:
        """A container with fakes in every place that would reach out."""
        container = build_container(GCP)
        engine = FakeDockerEngine()
        engine.create("iris-controller").write(b"controller speaks\n")
        container.inventory.override(self.inventory)
        container.shell.override(FakeShell(starts=[engine.script()], exchanges=[controller_answers()]))
        jobs = FakeJobs(lambda request: lands(self.root, self.play(request)))
        container.job_client.override(jobs)
        return container

    @property
    def summary(self) -> str:
        """What summary.md says."""
        return (self.root / "summary.md").read_text()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "run")


def fails(request: JobRequest) -> Play:
    """Every job fails but the coscheduled one."""
    return honest(request) if request.replicas > 1 else Play(statuses=[JobStatus.FAILED], log="cannot: no disk\n")


def test_all_right_is_three_of_three(rig: Rig) -> None:
    """The phases come in order, the logs are landed, the cluster is gone, and the exit code is 0."""
    assert rig.run() == 0
    phases = [line.removeprefix("## ") for line in rig.summary.splitlines() if line.startswith("## ")]
    assert phases == [
        "clean start",
        "start",
        "connect",
        "check 1: one job",
        "check 2: three jobs at once",
        "check 3: replicas at the same time",
        "results",
        "clean up",
        "artifacts",
    ]
    assert rig.summary.rstrip().endswith("3/3 checks passed; the smoke test passed")
    assert "controller speaks" in (rig.root / "controller-logs.txt").read_text()
    assert "[controller-logs.txt](controller-logs.txt)" in rig.summary
    assert rig.inventory.names() == []


def test_a_gang_is_as_large_as_the_largest_slice(rig: Rig) -> None:
    """Two hosts of one slice run two replicas, not four: a gang is of one slice."""
    seen: list[int] = []

    def play(request: JobRequest) -> Play:
        seen.append(request.replicas)
        if len(seen) == 1:  # a slice takes minutes to start
            rig.inventory.put_slice(make_slice(f"{PREFIX}-tpu-1", hosts=2))
            rig.inventory.put_slice(make_slice(f"{PREFIX}-tpu-2", hosts=1))
        return honest(request)

    rig.play = play
    assert rig.run() == 0
    assert seen == [1, 1, 1, 1, 2]


def test_what_an_earlier_run_left_is_deleted_first(rig: Rig) -> None:
    """A clean start: leftovers of this prefix go before anything is created."""
    rig.inventory = FakeInventory(
        label_prefix=PREFIX,
        controller=make_controller(PREFIX),
        slices=[make_slice(f"{PREFIX}-tpu-1")],
    )
    assert rig.run() == 0
    methods = [call.method for call in rig.inventory.calls]
    assert methods.index("delete") < methods.index("ensure_controller")
    assert f"Deleting what is left of an earlier run: {PREFIX}-tpu-1" in rig.summary


def test_a_failed_check_does_not_stop_the_others(rig: Rig) -> None:
    """Exit code 1, the job's last lines on the terminal, where the artifacts are, and nothing left running."""
    rig.play = fails
    assert rig.run() == 1
    assert "1/3 checks passed; the smoke test failed" in rig.summary
    assert "| cannot: no disk" in rig.terminal.getvalue()
    assert f"The artifacts are in {rig.root}" in rig.terminal.getvalue()
    assert rig.inventory.names() == []


def test_a_failed_cluster_can_be_kept(rig: Rig) -> None:
    """With --no-cleanup-on-failure it stays to be looked at, and the user is told that it costs money."""
    rig.play = fails
    rig.options["keep_on_failure"] = True
    assert rig.run() == 1
    assert rig.inventory.names() == [f"iris-controller-{PREFIX}"]
    assert "It costs money until `iris down -c it` deletes it" in rig.terminal.getvalue()


def test_keeping_is_for_failures_only(rig: Rig) -> None:
    """Where everything passed, everything is deleted."""
    rig.options["keep_on_failure"] = True
    assert rig.run() == 0
    assert rig.inventory.names() == []


def test_a_cluster_that_does_not_start_is_told_with_its_own_exit_code(rig: Rig) -> None:
    """The phase, the cloud's reason, no traceback; what was created by then is deleted."""
    rig.inventory.fail_next("ensure_controller", OutOfCapacityError("no capacity in the zone"))
    assert rig.run() == OutOfCapacityError.exit_code
    assert "Failed while: start: no capacity in the zone" in rig.summary
    assert "0/3 checks passed" in rig.summary
    assert rig.inventory.count("delete") == 0


def test_a_clean_up_that_fails_is_a_failure(rig: Rig) -> None:
    """Three passed checks and a VM that goes on costing money are no success."""
    rig.inventory = FakeInventory(label_prefix=PREFIX, undeletable=[f"iris-controller-{PREFIX}"])
    assert rig.run() == 3
    assert "The clean-up failed" in rig.terminal.getvalue()
    assert "`iris down -c it` deletes what is left" in rig.terminal.getvalue()
    assert f"iris-controller-{PREFIX}" in rig.terminal.getvalue()


def test_an_inventory_that_cannot_be_asked_touches_nothing(rig: Rig) -> None:
    """Without gcloud it ends in the first phase."""
    rig.inventory.fail_next("list_resources", InventoryToolError("gcloud is missing"))
    assert rig.run() == InventoryToolError.exit_code
    assert "Nothing was started" in rig.summary


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_cleans_up(rig: Rig, number: signal.Signals, code: int) -> None:
    """Ctrl-C and SIGTERM in the middle of a check delete the cluster; the exit code says which it was."""

    def interrupted(request: JobRequest) -> Play:
        if request.replicas > 1:
            signal.raise_signal(number)
        return honest(request)

    rig.play = interrupted
    assert rig.run() == code
    assert "Interrupted while: check 3" in rig.summary
    assert "2/3 checks passed" in rig.summary
    assert rig.inventory.names() == []


def test_a_second_signal_names_the_cluster_and_what_deletes_it(rig: Rig) -> None:
    """It leaves at once, without a look at what there is."""
    words: list[str] = []

    def interrupted(request: JobRequest) -> Play:
        with suppress(Interrupted):
            signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return honest(request)

    rig.play, rig.leave = interrupted, lambda _code, last_words: words.append(last_words)
    rig.run()
    assert f"the cluster {PREFIX} still runs and costs money: `iris down -c it`" in words[0]


def test_the_deadline_ends_a_phase_that_blocks(rig: Rig) -> None:
    """A phase that waits for ever without looking at any clock is ended, and cleaned up after."""

    def blocks(_: JobRequest) -> Play:
        threading.Event().wait()
        raise AssertionError

    rig.play = blocks
    rig.options["timeout_seconds"] = 0.2
    assert rig.run() == 1
    assert "not done within its 0.2 s (--timeout)" in rig.summary
    assert rig.inventory.names() == []


def test_a_used_directory_is_refused_before_anything_happens(rig: Rig) -> None:
    """Nothing is deleted, nothing created, nothing overwritten."""
    rig.root.mkdir()
    (rig.root / "summary.md").write_text("an earlier run")
    with pytest.raises(LogFileError):
        rig.run()
    assert rig.inventory.calls == []


def test_python_logging_is_as_before(rig: Rig) -> None:
    """Handler, level and signal handlers are given back, and no thread is left."""
    logger = logging.getLogger("iris")
    before = (list(logger.handlers), logger.level, signal.getsignal(signal.SIGINT), threading.active_count())
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    rig.run()
    assert (list(logger.handlers), logger.level, signal.getsignal(signal.SIGINT), threading.active_count()) == before
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
