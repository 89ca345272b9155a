"""The command line on a pretended Google Cloud, in this process."""

from __future__ import annotations

import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from iris_adapters.cli.main import main
from iris_adapters.container import IrisContainer
from iris_adapters.controller.wire import ApiVersion, JobInfo, JobStatus, TaskInfo
from iris_adapters.fakes import FakeDockerEngine, FakeInventory, FakeShell, RunScript, StartScript
from iris_adapters.system_clock import SystemClock
from iris_core.errors import JobApiError
from tests.unit.core.jobs_api import controller_answers
from tests.unit.smoke_test.fake_jobs import FakeJobs, Play, honest, lands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from iris_adapters.controller.wire import JobRequest
    from iris_adapters.fakes import FakeProcess

CONTROLLER = "iris-controller-iris"
GCP = "mode: gcp\ngcp: {project_id: project, zone: us-central1-a}\ncontroller: {container: {command: []}}\n"


class CtrlCClock(SystemClock):
    """The user presses Ctrl-C as soon as a command waits without end."""

    def __init__(self) -> None:
        self.waits: list[Callable[[], None]] = []

    def wait(self, event: threading.Event, seconds: float | None) -> bool:
        """As `Clock.wait`."""
        if seconds is None and threading.current_thread() is threading.main_thread():
            for before in self.waits:
                before()
            raise KeyboardInterrupt
        return super().wait(event, seconds)


class Jobs(FakeJobs):
    """A job API with some history."""

    def __init__(self) -> None:
        super().__init__(self._play_smoke)
        self.smoke_dir: Path | None = None

    def _play_smoke(self, request: JobRequest) -> Play:
        return Play() if self.smoke_dir is None else lands(self.smoke_dir, honest(request))

    def version(self) -> ApiVersion:
        """As `JobClient.version`."""
        return ApiVersion(version="4", ray_version="2", session_name="s", controller="iris")

    def list(self) -> tuple[JobInfo, ...]:
        """As `JobClient.list`."""
        return (
            JobInfo(job_id="j1", status=JobStatus.RUNNING, entrypoint="sleep [bold]9", runtime_env={"A": "secret"}),
        )

    def get(self, job_id: str) -> JobInfo:
        """As `JobClient.get`."""
        if job_id == "absent":
            raise JobApiError("there is no job absent", status=404)
        return JobInfo(job_id=job_id, status=JobStatus.SUCCEEDED, entrypoint="true", message="done")

    def tasks(self, job_id: str) -> tuple[TaskInfo, ...]:
        """As `JobClient.tasks`."""
        if self.smoke_dir is not None:
            return super().tasks(job_id)
        return (TaskInfo(index=0, state=JobStatus.PENDING, pending_reason="needs 4 workers"),)

    def follow(self, job_id: str) -> Iterator[str]:
        """As `JobClient.follow`."""
        yield f"{job_id} says hello"


def _answers(process: FakeProcess, data: bytes) -> None:
    process.emit_stdout(data)
    process.exit(0)


@dataclass
class Rig:
    """The command line on a pretended Google Cloud."""

    capsys: pytest.CaptureFixture[str]
    monkeypatch: pytest.MonkeyPatch
    config: Path
    inventory: FakeInventory = field(default_factory=FakeInventory)
    engine: FakeDockerEngine = field(default_factory=FakeDockerEngine)
    jobs: Jobs = field(default_factory=Jobs)
    clock: CtrlCClock = field(default_factory=CtrlCClock)
    shell: FakeShell = field(default_factory=FakeShell)
    unreachable: tuple[str, ...] = ()
    runs: tuple[RunScript, ...] = ()

    def run(self, *arguments: str | Path) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of a command line."""
        self.monkeypatch.setattr(sys, "argv", ["iris", *map(str, arguments)])
        self.shell = FakeShell(
            runs=self.runs,
            starts=[
                self.engine.script(),
                StartScript(argv=("sh", "-c"), handler=lambda process: _answers(process, b"[]")),
                StartScript(argv=("dmesg",), handler=lambda process: _answers(process, b"Linux\n")),
            ],
            exchanges=[controller_answers()],
            unreachable=self.unreachable,
        )
        with (
            IrisContainer.inventory.override(self.inventory),
            IrisContainer.shell.override(self.shell),
            IrisContainer.clock.override(self.clock),
            IrisContainer.job_client.override(self.jobs),
            pytest.raises(SystemExit) as ended,
        ):
            main()
        out, err = self.capsys.readouterr()
        assert "Traceback" not in err or "--debug" in arguments
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err
