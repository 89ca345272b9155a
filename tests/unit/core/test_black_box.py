"""What is captured before something is deleted, on fakes."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import (
    FakeClock,
    FakeDockerEngine,
    FakeInventory,
    FakeShell,
    StartScript,
    make_controller,
    make_slice,
)
from iris_adapters.system_clock import SystemClock
from iris_core.black_box import BlackBox, capture_black_box
from iris_core.config import ClusterConfig, ContainerConfig, GcpConfig, LogConfig, Mode, WorkerGroupConfig
from iris_core.errors import InventoryToolError, LogFileError
from iris_core.model import VmPhase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from iris_adapters.fakes import FakeProcess
    from iris_core.model import Resource
    from iris_core.ports.clock import Clock

CONTROLLER = make_controller()
SLICE = make_slice("iris-tpu-1", hosts=2, group="tpu")
INSPECTED = [{"Name": "/iris-worker", "State": {"ExitCode": 137, "OOMKilled": True}}]


def answers(process: FakeProcess, text: str) -> None:
    process.emit_stdout(text.encode())
    process.exit(0)


def shell_of(engine: FakeDockerEngine, *, unreachable: Sequence[str] = ()) -> FakeShell:
    return FakeShell(
        starts=[
            engine.script(),
            StartScript(argv=("sh", "-c"), handler=lambda process: answers(process, json.dumps(INSPECTED))),
            StartScript(argv=("dmesg",), handler=lambda process: answers(process, "Out of memory\n")),
        ],
        unreachable=unreachable,
    )


def capture(
    directory: Path,
    shell: FakeShell,
    resources: Sequence[Resource] = (SLICE, CONTROLLER),
    *,
    clock: Clock | None = None,
    inventory: FakeInventory | None = None,
    with_logs: bool = True,
    workers: tuple[WorkerGroupConfig, ...] = (),
    seconds: float = 20.0,
) -> BlackBox:
    return capture_black_box(
        config=ClusterConfig(
            mode=Mode.GCP,
            gcp=GcpConfig(project_id="p", zone="us-central1-a"),
            logs=LogConfig(black_box_seconds=seconds),
            workers=workers,
        ),
        shell=shell,
        inventory=inventory or FakeInventory(),
        clock=clock or SystemClock(),
        resources=resources,
        directory=directory,
        with_logs=with_logs,
    )


@pytest.fixture
def engine() -> FakeDockerEngine:
    engine = FakeDockerEngine()
    engine.create("iris-controller").write(b"hello\n")
    engine.create("iris-worker").write(b"last words\n")
    return engine


def test_all_of_it(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """Logs, inspect, kernel messages of every host, and the controller's console; private files."""
    box = capture(tmp_path / "box", shell_of(engine))

    assert box.problems == ()
    files = {str(path.relative_to(box.directory)) for path in box.directory.rglob("*") if path.is_file()}
    facts = {
        f"hosts/{name}/{file}" for name in ("iris-tpu-1-w0", "iris-tpu-1-w1") for file in ("inspect.json", "dmesg.txt")
    }
    assert facts | {f"hosts/{CONTROLLER.name}/serial.txt", "controller-logs.txt", "workers/iris-tpu-1-w1.txt"} < files
    assert b"last words" in (box.directory / "workers" / "iris-tpu-1-w0.txt").read_bytes()
    inspected = box.directory / "hosts" / "iris-tpu-1-w1" / "inspect.json"
    assert json.loads(inspected.read_text()) == INSPECTED
    assert stat.S_IMODE(inspected.stat().st_mode) == 0o600
    assert (box.directory / "hosts" / CONTROLLER.name / "serial.txt").read_text() == f"{CONTROLLER.name} boots\n"


def test_a_dead_host_costs_its_time_and_nothing_else(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """What it could not say is told by name; the others' is all there."""
    clock = FakeClock(auto_advance=True)
    box = capture(tmp_path, shell_of(engine, unreachable=["iris-tpu-1-w0"]), [SLICE], clock=clock)

    assert clock.monotonic() <= 20.5
    assert {problem.split(":")[0] for problem in box.problems} == {"iris-tpu-1-w0", "workers/iris-tpu-1-w0"}
    assert (tmp_path / "hosts" / "iris-tpu-1-w1" / "inspect.json").exists()


def test_a_host_that_never_answers_is_given_up(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """Within the time; what it has said until then is kept."""
    shell = shell_of(engine)
    shell.script(StartScript(argv=("dmesg",), handler=lambda process: process.emit_stdout(b"half")))
    clock = FakeClock(auto_advance=True)
    box = capture(tmp_path, shell, [SLICE], clock=clock)

    assert sorted(box.problems) == [
        "iris-tpu-1-w0: dmesg.txt: it did not answer in time",
        "iris-tpu-1-w1: dmesg.txt: it did not answer in time",
    ]
    assert (tmp_path / "hosts" / "iris-tpu-1-w0" / "dmesg.txt").read_bytes() == b"half"
    assert shell.running() == []


def test_a_command_that_fails_is_told_with_its_words(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """Its exit status and what it said."""
    shell = shell_of(engine)

    def refuse(process: FakeProcess) -> None:
        process.emit_stderr(b"sudo: a password is required\n")
        process.exit(1)

    shell.script(StartScript(argv=("sh", "-c"), handler=refuse))
    box = capture(tmp_path, shell, [CONTROLLER])
    assert box.problems == (f"{CONTROLLER.name}: inspect.json: exit status 1: sudo: a password is required",)


def test_a_console_that_cannot_be_had_is_told(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """The cloud's refusal is one more problem."""
    inventory = FakeInventory()
    inventory.fail_next("serial_output", InventoryToolError("may not look"))
    box = capture(tmp_path, shell_of(engine), [CONTROLLER], inventory=inventory)
    assert box.problems == (f"{CONTROLLER.name}: no serial output: may not look",)


def test_what_cannot_answer_is_not_asked(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """A VM that boots or is stopped costs no time; its console is read all the same. A preempted one is tried."""
    shell = shell_of(engine)
    booting = make_controller(phase=VmPhase.PENDING)
    stopped = make_slice("iris-tpu-2", phase=VmPhase.STOPPED)
    preempted = make_slice("iris-tpu-3", phase=VmPhase.FAILED)
    box = capture(tmp_path, shell, [booting, stopped, preempted])
    assert {process.host.name for process in shell.started} == {"iris-tpu-3-w0"}
    assert (tmp_path / "hosts" / booting.name / "serial.txt").exists()
    assert (tmp_path / "workers" / "iris-tpu-3-w0.txt").exists()
    assert box.problems == ()


def test_groups_may_have_containers_of_different_names(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """Each group's own name counts."""
    engine.create("trainer").write(b"loss 1\n")
    groups = tuple(
        WorkerGroupConfig(
            name=name, accelerator_type="v5litepod-4", runtime_version="v", container=ContainerConfig(name=own)
        )
        for name, own in (("tpu", None), ("big", "trainer"))
    )
    capture(tmp_path, shell_of(engine), [SLICE, make_slice("iris-big-1", group="big")], workers=groups)
    assert b"loss 1" in (tmp_path / "workers" / "iris-big-1-w0.txt").read_bytes()
    assert b"last words" in (tmp_path / "workers" / "iris-tpu-1-w0.txt").read_bytes()


def test_without_logs_where_a_streaming_lands_them(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """Only facts are asked for."""
    capture(tmp_path, shell_of(engine), with_logs=False)
    assert [path.name for path in tmp_path.iterdir()] == ["hosts"]


def test_no_time_is_no_capture(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """0 seconds ask nobody."""
    shell = shell_of(engine)
    assert capture(tmp_path, shell, seconds=0).problems == ()
    assert shell.started == []


def test_a_directory_that_cannot_be_made_is_an_error(engine: FakeDockerEngine, tmp_path: Path) -> None:
    """Before anything is asked."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LogFileError, match="file"):
        capture(tmp_path / "file" / "box", shell_of(engine))
