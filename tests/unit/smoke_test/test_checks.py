"""The jobs of the smoke test and the three checks: what passes, and what each kind of failure is told as."""

from __future__ import annotations

import io
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from iris_adapters.controller.wire import JobRequest, JobStatus, TaskInfo
from iris_adapters.fakes import FakeClock
from iris_adapters.smoke_test.checks import cluster_checks, local_checks
from iris_adapters.smoke_test.jobs import CheckFailedError, JobRunner
from iris_adapters.smoke_test.log_tree import LogTree
from iris_adapters.smoke_test.logger import SmokeTestLogger
from iris_core.errors import JobApiError
from tests.unit.smoke_test.fake_jobs import FakeJobs, Play, honest, mark_of, overlapping

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

ONE = JobRequest(entrypoint="true")


def ran_on(*workers: str) -> tuple[TaskInfo, ...]:
    """The tasks of a job whose replicas succeeded on these workers."""
    return tuple(
        TaskInfo(index=index, state=JobStatus.SUCCEEDED, worker_id=worker, exit_code=0)
        for index, worker in enumerate(workers)
    )


class _Watcher:
    """Remembers the names of the jobs it was told of."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def track_job(self, job_id: str, name: str) -> None:
        """As `TaskSchedulingMonitor.track_job`."""
        assert job_id
        self.names.append(name)


@dataclass
class Rig:
    """A job runner on fakes."""

    runner: JobRunner
    jobs: FakeJobs
    clock: FakeClock
    watcher: _Watcher
    terminal: io.StringIO
    root: Path


@pytest.fixture
def make_rig(tmp_path: Path) -> Iterator[Callable[..., Rig]]:
    loggers = ExitStack()

    def make(play: Callable[[JobRequest], Play] = honest, *, is_cluster: bool = False) -> Rig:
        jobs, clock, watcher, terminal = FakeJobs(play), FakeClock(auto_advance=True), _Watcher(), io.StringIO()
        tree = LogTree(tmp_path / "run")
        logger = loggers.enter_context(SmokeTestLogger(tree.file("summary.md", ""), clock, terminal))
        runner = JobRunner(
            jobs,
            watcher,
            tree,
            logger,
            clock,
            timeout_seconds=60,
            landed=(lambda worker: tree.root / f"{worker}.txt") if is_cluster else None,
            workers_may_join=is_cluster,
        )
        return Rig(runner, jobs, clock, watcher, terminal, tree.root)

    with loggers:
        yield make


class TestJobRunner:
    def test_logs_are_returned_and_kept(self, make_rig: Callable[..., Rig]) -> None:
        """Each job's log comes back by name and lies in jobs/."""
        rig = make_rig(lambda request: Play(log=f"ran {request.entrypoint}\n"))
        assert rig.runner.run({"one": ONE}) == {"one": "ran true\n"}
        assert (rig.root / "jobs" / "one.txt").read_text() == "ran true\n"
        assert rig.watcher.names == ["one"]
        assert rig.jobs.stopped == []

    def test_all_are_submitted_before_one_is_waited_for(self, make_rig: Callable[..., Rig]) -> None:
        """Jobs at once are at once."""
        rig = make_rig(lambda _: Play())
        rig.runner.run({"a": ONE, "b": ONE, "c": ONE})
        assert rig.jobs.events[:4] == ["submit", "submit", "submit", "get"]

    def test_the_last_lines_of_a_failing_job_are_shown(self, make_rig: Callable[..., Rig]) -> None:
        """The user sees why without opening a file; the file has all."""
        log = "".join(f"line {number}\n" for number in range(100))
        rig = make_rig(lambda _: Play(statuses=[JobStatus.FAILED], log=log, message="exited with 3"))
        with pytest.raises(CheckFailedError, match="one ended as FAILED: exited with 3"):
            rig.runner.run({"one": ONE})
        assert "| line 99" in rig.terminal.getvalue()
        assert "line 79\n" not in rig.terminal.getvalue()
        assert (rig.root / "jobs" / "one.txt").read_text() == log

    def test_a_job_that_does_not_end_is_stopped(self, make_rig: Callable[..., Rig]) -> None:
        """After the job timeout it is told to stop, and the error says where it was and why."""
        waits = TaskInfo(index=0, state=JobStatus.PENDING, pending_reason="needs 9 CPUs")
        rig = make_rig(lambda _: Play(statuses=[JobStatus.PENDING], tasks=(waits,)))
        with pytest.raises(CheckFailedError, match=r"PENDING after 60 s .*needs 9 CPUs"):
            rig.runner.run({"one": ONE})
        assert rig.clock.monotonic() == pytest.approx(60)
        assert rig.jobs.stopped == ["job-1"]

    def test_a_job_that_can_never_run_is_not_waited_for(self, make_rig: Callable[..., Rig]) -> None:
        """The controller knows; half an hour of waiting would not change it."""
        never = TaskInfo(index=0, state=JobStatus.PENDING, pending_reason="needs 4 workers", can_be_scheduled=False)
        rig = make_rig(lambda _: Play(statuses=[JobStatus.PENDING], tasks=(never,)))
        with pytest.raises(CheckFailedError, match="can never run: needs 4 workers"):
            rig.runner.run({"one": ONE})
        assert rig.clock.monotonic() < 1
        assert rig.jobs.stopped == ["job-1"]

    @pytest.mark.parametrize("status", [None, 503])
    def test_a_tunnel_that_is_being_made_anew_fails_no_job(
        self, make_rig: Callable[..., Rig], status: int | None
    ) -> None:
        """An answer that could not be had is asked for again."""
        silent = JobApiError("does not answer", status=status)
        rig = make_rig(lambda _: Play(statuses=[silent, JobStatus.SUCCEEDED]))
        rig.runner.run({"one": ONE})
        assert "does not answer" in rig.terminal.getvalue()

    def test_a_controller_that_refuses_is_not_asked_again(self, make_rig: Callable[..., Rig]) -> None:
        """404 or 403 will not become better; the job is told to stop all the same."""
        rig = make_rig(lambda _: Play(statuses=[JobApiError("no such job", status=404)]))
        with pytest.raises(JobApiError, match="no such job"):
            rig.runner.run({"one": ONE})
        assert rig.jobs.stopped == ["job-1"]

    def test_a_log_that_cannot_be_had_fails_the_job(self, make_rig: Callable[..., Rig]) -> None:
        """A job without its log proves nothing."""
        rig = make_rig(lambda _: Play(log=JobApiError("gone", status=500)))
        with pytest.raises(CheckFailedError, match="its log cannot be had"):
            rig.runner.run({"one": ONE})

    def test_a_worker_that_may_still_join_is_waited_for(self, make_rig: Callable[..., Rig]) -> None:
        """On a cluster no host may have what a job needs yet, and one that joins has it."""
        never = TaskInfo(index=0, state=JobStatus.PENDING, pending_reason="needs a host", can_be_scheduled=False)
        statuses: list[JobStatus | JobApiError] = [*[JobStatus.PENDING] * 9, JobStatus.SUCCEEDED]
        rig = make_rig(lambda _: Play(statuses=statuses, tasks=(never,)), is_cluster=True)
        rig.runner.run({"one": ONE})
        assert rig.jobs.stopped == []

    def test_tasks_that_cannot_be_had_fail_no_job(self, make_rig: Callable[..., Rig]) -> None:
        """Waiting goes on by the job's state."""
        unknown = JobApiError("no such path", status=404)
        rig = make_rig(lambda _: Play(statuses=[JobStatus.PENDING, JobStatus.SUCCEEDED], tasks=unknown))
        rig.runner.run({"one": ONE})


class TestLandedLines:
    def test_what_each_replica_printed_is_looked_for_on_its_host(self, make_rig: Callable[..., Rig]) -> None:
        """A line that is somewhere else proves nothing: host and replica are told."""
        rig = make_rig(lambda _: Play(tasks=ran_on("a-w0", "a-w1")), is_cluster=True)
        rig.runner.run({"two": ONE})
        (rig.root / "a-w0.txt").write_text("2026-11-24T00:00:00.000000000Z stdout F first second\n")
        (rig.root / "a-w1.txt").write_text("2026-11-24T00:00:00.000000000Z stdout F third\n")

        assert rig.runner.check_landed("two", ["first", "third"])
        with pytest.raises(CheckFailedError, match="not landed after 60 s: that of replica 1 in the log of a-w1"):
            rig.runner.check_landed("two", ["first", "second"])

    def test_a_line_may_take_a_while(self, make_rig: Callable[..., Rig]) -> None:
        """It is waited for, also where there is no file yet; not for ever."""
        rig = make_rig(lambda _: Play(tasks=ran_on("a-w0")), is_cluster=True)
        rig.runner.run({"one": ONE})
        began = rig.clock.monotonic()

        with pytest.raises(CheckFailedError, match="that of replica 0 in the log of a-w0"):
            rig.runner.check_landed("one", ["line"])
        assert rig.clock.monotonic() - began == pytest.approx(60)

    def test_in_this_process_nothing_is_landed(self, make_rig: Callable[..., Rig]) -> None:
        """Nothing is looked for, and nothing is claimed."""
        rig = make_rig()
        rig.runner.run({"one": JobRequest(entrypoint="echo iris-smoke-00000000")})

        assert rig.runner.check_landed("one", ["line"]) == ""


class TestChecks:
    @pytest.mark.parametrize("has_place", [True, False])
    def test_all_pass_where_all_is_right(self, make_rig: Callable[..., Rig], *, has_place: bool) -> None:
        """Three checks, five jobs; nothing of the meeting place stays."""
        rig = make_rig()
        place = rig.root / "meeting-place"
        for check in local_checks(place) if has_place else cluster_checks(lambda: 4):
            assert check.run(rig.runner)
        assert [request.replicas for request in rig.jobs.submitted] == [1, 1, 1, 1, 4]
        assert [request.coscheduled for request in rig.jobs.submitted] == [False] * 4 + [True]
        assert not place.exists()

    def test_one_job_without_its_line_fails(self, make_rig: Callable[..., Rig]) -> None:
        """Success alone proves nothing: the log must have what the job printed."""
        rig = make_rig(lambda _: Play(log="something else\n"))
        with pytest.raises(CheckFailedError, match="does not have the line"):
            cluster_checks(lambda: 4)[0].run(rig.runner)

    def test_logs_that_are_mixed_up_fail(self, make_rig: Callable[..., Rig]) -> None:
        """A job's log with another job's line is a failure."""
        seen: list[str] = []

        def mixed(request: JobRequest) -> Play:
            seen.append(mark_of(request))
            return Play(log="\n".join(seen))

        with pytest.raises(CheckFailedError, match="three-2 has the lines of three-1, three-2"):
            cluster_checks(lambda: 4)[1].run(make_rig(mixed).runner)

    def test_replicas_of_which_one_never_met_the_others_fail(
        self, make_rig: Callable[..., Rig], tmp_path: Path
    ) -> None:
        """Four successes are not enough: each must say that it met all the others."""

        def three_met(request: JobRequest) -> Play:
            return Play(log="".join(f"{mark_of(request)} met index={index}\n" for index in range(3)))

        with pytest.raises(CheckFailedError, match="only the replicas 0, 1, 2 of 4"):
            local_checks(tmp_path / "place")[2].run(make_rig(three_met).runner)

    @pytest.mark.parametrize(
        ("times", "said"),
        [
            ({0: (100, 115), 1: (100, 115), 2: (100, 115), 3: (115, 130)}, "replica 3 began at 115"),
            ({0: (100, 115), 1: (100, 115), 2: (116, 131), 3: (116, 131)}, "replica 2 began at 116"),
            ({0: (100, 115), 1: (100, 115), 2: (100, 115)}, "not every replica"),
        ],
        ids=["one after the others", "two by two", "one silent"],
    )
    def test_replicas_whose_times_do_not_overlap_fail(
        self, make_rig: Callable[..., Rig], times: dict[int, tuple[int, int]], said: str
    ) -> None:
        """Without a place to meet there must be a second in which all four ran."""
        rig = make_rig(lambda request: Play(log=overlapping(mark_of(request), times)))
        with pytest.raises(CheckFailedError, match=said):
            cluster_checks(lambda: 4)[2].run(rig.runner)
