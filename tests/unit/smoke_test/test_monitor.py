"""`TaskSchedulingMonitor`: snapshots of the tasks as they change."""

from __future__ import annotations

import io
import json
import threading
from typing import TYPE_CHECKING

import pytest

from iris_adapters.controller.wire import JobStatus, TaskInfo
from iris_adapters.fakes import FakeClock
from iris_adapters.smoke_test.logger import SmokeTestLogger
from iris_adapters.smoke_test.monitor import TaskSchedulingMonitor
from iris_core.errors import JobApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

WAITS = TaskInfo(index=0, state=JobStatus.PENDING, pending_reason="needs 1 CPU")
RUNS = TaskInfo(index=0, state=JobStatus.RUNNING, worker_id="local-w0")
DONE = TaskInfo(index=0, state=JobStatus.SUCCEEDED, worker_id="local-w0", exit_code=0)


class FakeTaskSource:
    """Answers each question about a job with the next of its script; the last stays."""

    def __init__(self, **script: list[Sequence[TaskInfo] | Exception]) -> None:
        self._script = script
        self.asked: list[str] = []

    def tasks(self, job_id: str) -> Sequence[TaskInfo]:
        """As `TaskSource.tasks`."""
        self.asked.append(job_id)
        script = self._script[job_id]
        answer = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def terminal() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def logger(tmp_path: Path, terminal: io.StringIO) -> Iterator[SmokeTestLogger]:
    with SmokeTestLogger(tmp_path / "summary.md", FakeClock(), terminal) as logger:
        yield logger


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "scheduling"
    directory.mkdir()
    return directory


def test_each_change_is_one_snapshot(directory: Path, logger: SmokeTestLogger, terminal: io.StringIO) -> None:
    """What stays the same is written once; what changes, once for each change, with all that is known of the tasks."""
    source = FakeTaskSource(j1=[[WAITS], [WAITS], [RUNS], [DONE]])
    monitor = TaskSchedulingMonitor(source, directory, logger, FakeClock())
    monitor.track_job("j1", "one")
    for _ in range(4):
        monitor.poll()
    assert sorted(path.name for path in directory.iterdir()) == ["one-001.json", "one-002.json", "one-003.json"]
    assert json.loads((directory / "one-001.json").read_text()) == {
        "job_id": "j1",
        "name": "one",
        "time": "2026-01-01T00:00:00+00:00",
        "tasks": [
            {
                "index": 0,
                "state": "PENDING",
                "pending_reason": "needs 1 CPU",
                "can_be_scheduled": True,
                "worker_id": None,
                "exit_code": None,
            }
        ],
    }
    assert "one: 1 PENDING (needs 1 CPU)" in terminal.getvalue()


def test_a_job_whose_tasks_have_ended_is_not_asked_for_again(directory: Path, logger: SmokeTestLogger) -> None:
    """Nothing can change any more."""
    source = FakeTaskSource(j1=[[DONE]], j2=[[RUNS]])
    monitor = TaskSchedulingMonitor(source, directory, logger, FakeClock())
    monitor.track_job("j1", "one")
    monitor.track_job("j2", "two")
    monitor.poll()
    monitor.poll()
    assert source.asked == ["j1", "j2", "j2"]


def test_a_controller_that_does_not_answer_is_told_once_and_asked_again(
    directory: Path, logger: SmokeTestLogger, terminal: io.StringIO
) -> None:
    """Errors end nothing, and the same one is not told over and over."""
    silent = JobApiError("the controller does not answer")
    source = FakeTaskSource(j1=[silent, silent, [DONE]])
    monitor = TaskSchedulingMonitor(source, directory, logger, FakeClock())
    monitor.track_job("j1", "one")
    for _ in range(3):
        monitor.poll()
    assert terminal.getvalue().count("does not answer") == 1
    assert (directory / "one-001.json").exists()


def test_a_controller_that_lists_no_tasks_is_not_asked_again(
    directory: Path, logger: SmokeTestLogger, terminal: io.StringIO
) -> None:
    """A Ray cluster knows no tasks of a job; that is said, and it is left in peace."""
    source = FakeTaskSource(j1=[JobApiError("no such path", status=404)])
    monitor = TaskSchedulingMonitor(source, directory, logger, FakeClock())
    monitor.track_job("j1", "one")
    monitor.poll()
    monitor.poll()
    assert source.asked == ["j1"]
    assert "not asked again" in terminal.getvalue()


def test_a_snapshot_that_cannot_be_written_ends_nothing(
    tmp_path: Path, logger: SmokeTestLogger, terminal: io.StringIO
) -> None:
    """A full disk or a directory that has gone is a line in the log."""
    monitor = TaskSchedulingMonitor(FakeTaskSource(j1=[[RUNS]]), tmp_path / "absent", logger, FakeClock())
    monitor.track_job("j1", "one")
    monitor.poll()
    assert "No such file" in terminal.getvalue()


def test_the_thread_asks_at_once_for_a_new_job_and_a_last_time_at_the_end(
    directory: Path, logger: SmokeTestLogger
) -> None:
    """Tracking wakes it, stop() ends it without waiting for its turn, and what happened in between is not lost."""
    clock = FakeClock()
    source = FakeTaskSource(j1=[[WAITS], [DONE]])
    monitor = TaskSchedulingMonitor(source, directory, logger, clock)
    with monitor:
        clock.wait_until_waiting()
        monitor.track_job("j1", "one")
        clock.wait_until_waiting()
    monitor.stop()
    assert source.asked[-1] == "j1"
    assert json.loads(max(directory.iterdir()).read_text())["tasks"][0]["state"] == "SUCCEEDED"
    assert "iris-scheduling-monitor" not in [thread.name for thread in threading.enumerate()]


def test_time_makes_the_thread_ask_again(directory: Path, logger: SmokeTestLogger) -> None:
    """It asks every `poll_seconds` of the clock."""
    clock = FakeClock()
    source = FakeTaskSource(j1=[[RUNS]])
    with TaskSchedulingMonitor(source, directory, logger, clock, poll_seconds=5) as monitor:
        monitor.track_job("j1", "one")
        while len(source.asked) < 3:
            clock.wait_until_waiting()
            clock.advance(5)
    assert len(source.asked) >= 3
