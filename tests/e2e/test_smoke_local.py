"""The real `iris smoke-test` as a process of its own, in local mode: how it ends, how long it takes, and what it leaves."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IRIS = Path(sys.executable).with_name("iris")
MOST_SECONDS = 10
PATIENCE_SECONDS = 60


@dataclass
class Smoke:
    """A smoke test that runs in an empty home and working directory, marked in its environment and so in its children's."""

    process: subprocess.Popen[str]
    home: Path
    log_dir: Path
    mark: str

    def wait_for(self, text: str) -> None:
        """Read the terminal up to a line with this text."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if text in line:
                return
        raise AssertionError(f"it ended without {text!r}")

    def end(self) -> tuple[int, str]:
        """Wait for its end: the exit code, and what else it said."""
        out, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        return self.process.returncode, out

    @property
    def summary(self) -> str:
        """What summary.md says."""
        return (self.log_dir / "summary.md").read_text()

    def left_behind(self) -> list[str]:
        """Processes with the mark that still run, and files outside the log directory."""
        files = [path for path in self.home.rglob("*") if not path.is_relative_to(self.log_dir)]
        files = [path for path in files if not self.log_dir.is_relative_to(path)]
        return [*map(str, files), *map(str, marked_processes(self.mark))]


def marked_processes(mark: str) -> list[int]:
    """The processes, zombies aside, whose environment has the mark."""
    found = []
    for directory in Path("/proc").iterdir():
        if not directory.name.isdecimal():
            continue
        try:
            if mark.encode() in (directory / "environ").read_bytes():
                found.append(int(directory.name))
        except OSError:  # it has ended meanwhile
            continue
    return found


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Smoke]]:
    """Start smoke tests; whatever is left of them at the end is ended."""
    started: list[Smoke] = []

    def start_smoke(*arguments: str, path_first: Path | None = None, mark: str = "iris-e2e") -> Smoke:
        home = tmp_path / f"home-{len(started)}"
        home.mkdir()
        mark = f"{mark}-{os.getpid()}-{len(started)}-{time.monotonic_ns()}"
        search_path = os.environ["PATH"] if path_first is None else f"{path_first}:{os.environ['PATH']}"
        process = subprocess.Popen(
            [str(IRIS), "smoke-test", "--log-dir", str(home / "logs"), *arguments],
            cwd=home,
            env={"HOME": str(home), "PATH": search_path, "TMPDIR": str(home), "IRIS_E2E_MARK": mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        started.append(Smoke(process, home, home / "logs", mark))
        return started[-1]

    yield start_smoke
    for smoke in started:
        for pid in marked_processes(smoke.mark):
            os.kill(pid, signal.SIGKILL)
        if smoke.process.stdout is not None and not smoke.process.stdout.closed:
            smoke.process.communicate()
        smoke.process.wait()


@pytest.fixture
def slow_programs(tmp_path: Path) -> Path:
    """A directory for PATH in which `wc`, which the third check's job uses, takes very long."""
    return program(tmp_path / "slow", "wc", "exec sleep 300")


def program(directory: Path, name: str, script: str) -> Path:
    """Put a program into a directory, and return the directory."""
    directory.mkdir()
    path = directory / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return directory


def listening_port(output: str) -> int:
    """The port of the controller, as the smoke test tells it."""
    found = re.search(r"The controller is at http://127\.0\.0\.1:(\d+)", output)
    assert found is not None
    return int(found[1])


def is_listening(port: int) -> bool:
    """Whether any socket of this machine listens there."""
    listening = f":{port:04X} 00000000:0000 0A"
    return listening in Path("/proc/net/tcp").read_text()


def test_all_checks_pass_within_ten_seconds_and_nothing_is_left(start: Callable[..., Smoke]) -> None:
    """Exit code 0, 3/3 in summary.md, and no process, socket or file outside the log directory."""
    began = time.monotonic()
    smoke = start()
    code, out = smoke.end()
    seconds = time.monotonic() - began
    assert code == 0, out
    assert seconds < MOST_SECONDS
    assert smoke.summary.rstrip().endswith("3/3 checks passed; the smoke test passed")
    assert smoke.left_behind() == []
    assert not is_listening(listening_port(out))


def test_the_log_directory_is_tidy(start: Callable[..., Smoke]) -> None:
    """Every artifact is in the index of summary.md, and the workers' lines are in iris-logs.txt."""
    smoke = start()
    assert smoke.end()[0] == 0
    files = [str(path.relative_to(smoke.log_dir)) for path in smoke.log_dir.rglob("*") if path.is_file()]
    linked = re.findall(r"\]\(([^)]+)\)", smoke.summary)
    assert [name for name in files if not any(name == link or name.startswith(link) for link in linked)] == []
    assert {(smoke.log_dir / name).stat().st_mode & 0o777 for name in files} == {0o600}
    lines = (smoke.log_dir / "iris-logs.txt").read_text()
    assert len(re.findall(r"iris\.worker\.local-w\d iris-smoke-\w+ met index=", lines)) == 4
    assert list((smoke.log_dir / "scheduling").glob("coscheduled-*.json"))


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_jobs_and_everything_else(
    start: Callable[..., Smoke], slow_programs: Path, number: signal.Signals, code: int
) -> None:
    """In the middle of a job: it is ended, the summary says what happened, and nothing is left."""
    smoke = start(path_first=slow_programs)
    smoke.wait_for("coscheduled: 4 RUNNING")
    assert len(marked_processes(smoke.mark)) > 4
    smoke.process.send_signal(number)
    began = time.monotonic()
    ended, out = smoke.end()
    assert ended == code, out
    assert time.monotonic() - began < MOST_SECONDS
    assert f"Interrupted while: check 3: four replicas at the same time: {number.name}" in smoke.summary
    assert "2/3 checks passed" in smoke.summary
    assert f"The artifacts are in {smoke.log_dir}" in out
    assert "Traceback" not in out
    assert smoke.left_behind() == []


def test_a_second_ctrl_c_leaves_at_once(start: Callable[..., Smoke], tmp_path: Path) -> None:
    """Also while jobs that ignore SIGTERM are given their time; not even their processes stay."""
    stubborn = program(tmp_path / "stubborn", "wc", "trap '' TERM; while :; do sleep 1; done")
    smoke = start(path_first=stubborn)
    smoke.wait_for("coscheduled: 4 RUNNING")
    smoke.process.send_signal(signal.SIGINT)
    smoke.wait_for("once more leaves at once")
    began = time.monotonic()
    smoke.process.send_signal(signal.SIGINT)
    code, out = smoke.end()
    assert code == 130
    assert time.monotonic() - began < 2
    assert "left at once" in out
    assert marked_processes(smoke.mark) == []


def test_a_failing_check_shows_the_jobs_last_lines(start: Callable[..., Smoke], tmp_path: Path) -> None:
    """Exit code 1, the reason and the end of the log on the terminal, and where the artifacts are."""
    broken = program(tmp_path / "broken", "wc", "echo wc is broken today >&2; exit 3")
    program_of_sleep = broken / "sleep"
    program_of_sleep.write_text("#!/bin/sh\nexit 0\n")  # else the replicas try for half a minute
    program_of_sleep.chmod(0o755)
    smoke = start(path_first=broken)
    code, out = smoke.end()
    assert code == 1, out
    assert "FAILED: coscheduled ended as FAILED" in out
    assert re.search(r"\| \[task \d\] .*met only", out)
    assert f"The artifacts are in {smoke.log_dir}" in out
    assert "wc is broken today" in (smoke.log_dir / "jobs" / "coscheduled.txt").read_text()
    assert smoke.summary.rstrip().endswith("2/3 checks passed; the smoke test failed (exit code 1)")
    assert smoke.left_behind() == []


def test_a_cluster_that_is_too_small_is_told_at_once(start: Callable[..., Smoke], tmp_path: Path) -> None:
    """Four replicas cannot run on two workers at the same time; the reason is the controller's."""
    config = tmp_path / "small.yaml"
    config.write_text("local: {workers: 2}\n")
    smoke = start("--config", str(config))
    code, out = smoke.end()
    assert code == 1, out
    assert "coscheduled can never run: needs 4 workers" in out


def test_the_timeout_is_enforced(start: Callable[..., Smoke], slow_programs: Path) -> None:
    """A run that would take minutes ends with its time, cleans up and exits 1."""
    began = time.monotonic()
    smoke = start("--timeout", "3", path_first=slow_programs)
    code, out = smoke.end()
    assert code == 1, out
    assert 3 <= time.monotonic() - began < 3 + MOST_SECONDS
    assert "not done within its 3 s (--timeout)" in smoke.summary
    assert smoke.left_behind() == []


def test_the_job_timeout_is_enforced(start: Callable[..., Smoke], slow_programs: Path) -> None:
    """A job that does not end fails its check, and only that."""
    smoke = start("--job-timeout", "2", path_first=slow_programs)
    code, out = smoke.end()
    assert code == 1, out
    assert "coscheduled is RUNNING after 2 s (--job-timeout)" in smoke.summary
    assert "2/3 checks passed" in smoke.summary
    assert smoke.left_behind() == []


def test_a_reader_that_goes_away_does_not_end_it(start: Callable[..., Smoke]) -> None:
    """`iris smoke-test | head -1` finishes, cleans up, and writes its summary."""
    smoke = start()
    smoke.wait_for("Smoke test of the cluster")
    assert smoke.process.stdout is not None
    smoke.process.stdout.close()
    assert smoke.process.wait(PATIENCE_SECONDS) == 0
    assert "3/3 checks passed" in smoke.summary
    assert smoke.left_behind() == []


def test_help_is_quick() -> None:
    """`iris --help` in under 300 ms, best of five: the machine may be busy."""
    times = []
    for _ in range(5):
        began = time.monotonic()
        subprocess.run([str(IRIS), "--help"], check=True, capture_output=True)
        times.append(time.monotonic() - began)
    assert min(times) < 0.3
