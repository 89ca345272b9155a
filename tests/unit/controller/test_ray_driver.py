"""The driver of a job on a Ray cluster, on a Ray that is a few objects."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from iris_adapters.controller.ray_job.report import BEGIN_LINE
from tests.unit.controller.fake_ray import FakeRay, Node

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Rig:
    """A driver, its log and its report."""

    def __init__(self, ray: FakeRay, monkeypatch: pytest.MonkeyPatch, report_path: Path, **job: Any) -> None:
        self.ray = ray
        self.log = io.StringIO()
        self._path = report_path
        whole = {
            "job_id": "mine",
            "env": {"A": "b"},
            "replicas": 2,
            "resources": {"CPU": 1},
            "coscheduled": True,
            "slice_name": None,
            "accelerator_type": None,
            "retries": 0,
            "grace_seconds": 3.0,
            "drain_seconds": 1.0,
            "drop": [],
            **job,
        }
        module = ray.install(monkeypatch)
        self.driver = module.Driver(whole, "command", "keeper", log=self.log, report_path=report_path)

    def run(self, script: Callable[[], Iterator[None]]) -> tuple[int, dict[str, Any]]:
        """Exit code and last report; the script plays what happens."""
        self.ray.plays(script())
        return self.driver.run(), self.report

    @property
    def report(self) -> dict[str, Any]:
        """What the driver reports now."""
        report: dict[str, Any] = json.loads(self._path.read_text())
        return report

    def until(self, condition: Callable[[], bool]) -> Iterator[None]:
        """Turns until something is so."""
        while not condition():
            yield

    def stop(self) -> None:
        """What SIGTERM does."""
        self.driver._hear(15, None)


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Rig]:
    return lambda *nodes, **job: Rig(FakeRay(*nodes), monkeypatch, tmp_path / "report.json", **job)


def test_a_gang_runs_in_the_order_of_its_hosts(make: Callable[..., Rig]) -> None:
    """All lines are in the log, each with its replica's index, and the exit code is 0."""
    rig = make("a-w9", "a-w10")

    def script() -> Iterator[None]:
        yield from rig.until(lambda: len(rig.ray.running) == 2)
        assert [actor.node.name for actor in rig.ray.running] == ["a-w9", "a-w10"]
        assert rig.ray.running[1].spec == {
            "command": "command",
            "env": {
                "A": "b",
                "IRIS_JOB_ID": "mine",
                "IRIS_TASK_INDEX": "1",
                "IRIS_NUM_TASKS": "2",
                "IRIS_WORKER_ID": "a-w10",
            },
            "grace_seconds": 3.0,
            "drain_seconds": 1.0,
        }
        for actor in rig.ray.running:
            actor.lines = ["first", "second"]
            actor.exit_code = 0

    code, report = rig.run(script)

    assert code == 0
    assert report["tasks"] == [["SUCCEEDED", "a-w9", 0], ["SUCCEEDED", "a-w10", 0]]
    first, *lines = rig.log.getvalue().splitlines()
    assert first == BEGIN_LINE
    assert sorted(lines) == [f"[task {index}] {word}" for index in (0, 1) for word in ("first", "second")]


def test_nothing_of_a_gang_starts_before_all_can(make: Callable[..., Rig]) -> None:
    """It waits, with the reason, and starts when the host that it lacks joins."""
    rig = make("a-w0")

    def script() -> Iterator[None]:
        for _ in range(20):
            yield
        assert rig.ray.actors == []
        assert rig.report["pending_reason"] == "needs 2 hosts of one slice with CPU=1; 1 offers it"
        assert not rig.report["can_be_scheduled"]
        rig.ray.nodes["a-w1"] = Node("a-w1")
        yield from rig.until(lambda: len(rig.ray.running) == 2)
        for actor in rig.ray.running:
            actor.exit_code = 0

    assert rig.run(script)[0] == 0


def test_a_failure_of_its_own_ends_the_gang_at_once(make: Callable[..., Rig]) -> None:
    """The others' actors are alive, so nothing is waited for; retries are for lost hosts."""
    rig = make("a-w0", "a-w1", retries=3)

    def script() -> Iterator[None]:
        yield from rig.until(lambda: len(rig.ray.running) == 2)
        rig.ray.running[1].exit_code = 3

    code, report = rig.run(script)

    assert (code, report["status"], report["message"]) == (3, "FAILED", "task 1 on a-w1 exited with 3")
    assert report["tasks"] == [["STOPPED", "a-w0", -15], ["FAILED", "a-w1", 3]]


@pytest.mark.parametrize("retries", [0, 1])
def test_a_failure_because_a_peers_host_has_gone_is_a_lost_host(make: Callable[..., Rig], retries: int) -> None:
    """The peer fails at once, Ray notices the host's end much later: until then nothing is decided."""
    rig = make("a-w0", "a-w1", retries=retries)

    def script() -> Iterator[None]:
        yield from rig.until(lambda: len(rig.ray.running) == 2)
        first = rig.ray.running
        rig.ray.nodes["a-w0"].die()
        first[1].exit_code = 1
        for _ in range(60):
            yield
        assert rig.report["status"] == "RUNNING"
        rig.ray.nodes.pop("a-w0").is_known_dead = True
        if not retries:
            return
        yield from rig.until(lambda: rig.report["status"] == "PENDING" and "1 offers" in rig.report["pending_reason"])
        assert rig.ray.running == []
        rig.ray.nodes["a-w2"] = Node("a-w2")
        yield from rig.until(lambda: len(rig.ray.running) == 2)
        for actor in rig.ray.running:
            actor.exit_code = 0

    code, report = rig.run(script)

    if retries:
        assert (code, report["status"]) == (0, "SUCCEEDED")
        assert [task[1] for task in report["tasks"]] == ["a-w1", "a-w2"]
    else:
        assert (code, report["message"]) == (1, "task 0 lost its host a-w0")
        assert report["tasks"] == [["FAILED", "a-w0", None], ["STOPPED", "a-w1", 1]]


def test_a_lost_host_has_the_rest_of_the_gang_ended_before_it_runs_again(make: Callable[..., Rig]) -> None:
    """Never half, and never twice."""
    rig = make("a-w0", "a-w1", "a-w2", retries=1)

    def script() -> Iterator[None]:
        yield from rig.until(lambda: len(rig.ray.running) == 2)
        lost, other = rig.ray.running
        lost.node.is_dead = lost.node.is_known_dead = True
        yield from rig.until(lambda: len(rig.ray.actors) > 2)
        assert (other.exit_code, other.is_killed) == (-15, True)
        yield from rig.until(lambda: len(rig.ray.running) == 2)
        for actor in rig.ray.running:
            actor.exit_code = 0

    assert rig.run(script)[0] == 0
    assert len(rig.ray.actors) == 4


def test_a_replica_that_is_no_gangs_runs_again_alone(make: Callable[..., Rig]) -> None:
    """The other goes on; a failure of its own needs nobody's sign of life."""
    rig = make("a-w0", "a-w1", coscheduled=False, retries=1)

    def script() -> Iterator[None]:
        yield from rig.until(lambda: len(rig.ray.running) == 2)
        lost, other = rig.ray.running
        lost.node.is_dead = lost.node.is_known_dead = True
        yield from rig.until(lambda: len(rig.ray.actors) == 3)
        assert other.exit_code is None
        other.exit_code = 0
        yield from rig.until(lambda: len(rig.ray.running) == 1)
        rig.ray.running[0].exit_code = 7

    code, report = rig.run(script)

    assert (code, report["message"]) == (7, f"task 0 on {report['tasks'][0][1]} exited with 7")


def test_an_actor_that_is_unreachable_for_a_while_loses_no_line(make: Callable[..., Rig]) -> None:
    """What was not acknowledged is asked for again."""
    rig = make("a-w0", replicas=1)

    def script() -> Iterator[None]:
        yield from rig.until(lambda: len(rig.ray.running) == 1)
        [actor] = rig.ray.running
        actor.lines = ["one"]
        yield
        actor.is_unreachable = True
        for _ in range(10):
            yield
        actor.lines += ["two"]
        actor.exit_code = 0
        actor.is_unreachable = False

    code, _ = rig.run(script)

    assert code == 0
    assert rig.log.getvalue() == f"{BEGIN_LINE}\none\ntwo\n"


@pytest.mark.parametrize("is_running", [True, False])
def test_stopping_ends_what_runs_and_starts_nothing(make: Callable[..., Rig], *, is_running: bool) -> None:
    """Also a job that waits, and one whose host does not answer any more."""
    rig = make("a-w0", "a-w1") if is_running else make("a-w0")

    def script() -> Iterator[None]:
        if is_running:
            yield from rig.until(lambda: len(rig.ray.running) == 2)
            rig.ray.nodes["a-w1"].die()
        yield
        rig.stop()

    _, report = rig.run(script)

    assert (report["status"], report["message"]) == ("STOPPED", "Job was intentionally stopped.")
    assert [task[0] for task in report["tasks"]] == ["STOPPED", "STOPPED"]
    assert rig.ray.running == []


def test_replicas_that_can_never_be_started_fail_the_job(make: Callable[..., Rig]) -> None:
    """After a few tries: Ray would try for ever."""
    rig = make("a-w0", "a-w1")
    rig.ray.cannot_start = True

    code, report = rig.run(lambda: iter(()))

    assert code == 1
    assert report["message"] == "its replicas cannot be started: The actor died unexpectedly"
