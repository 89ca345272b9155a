"""The process that keeps a replica on a Ray worker, without Ray: what it passes on, and what it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

SOURCE = resources.files("iris_adapters.controller.ray_job").joinpath("keeper.py").read_text(encoding="utf-8")
PATIENCE_SECONDS = 60.0


class Keeper:
    """A keeper with the pipes that its actor would have."""

    def __init__(self, command: str, log: Path | None = None, **env: str) -> None:
        self.launcher = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", SOURCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self.launcher.stdin is not None
        assert self.launcher.stdout is not None
        spec = {
            "command": command,
            "env": {"PATH": os.environ["PATH"], **env},
            "log": None if log is None else str(log),
            "grace_seconds": 0.5,
            "drain_seconds": 0.5,
        }
        self.control, self.news = self.launcher.stdin, self.launcher.stdout
        self.control.write(json.dumps(spec).encode() + b"\n")
        self.control.flush()
        assert self.launcher.wait(PATIENCE_SECONDS) == 0  # it has let go of whoever started it

    def lines(self) -> tuple[list[str], int]:
        """All that it says until it ends, and the exit code."""
        items: list[dict[str, Any]] = [json.loads(line) for line in self.news]
        lines = [line for item in items for line in item.get("lines", [])]
        return lines, int(items[-1]["exit"])

    def first_line(self) -> str:
        """The next line that it passes on."""
        return str(json.loads(self.news.readline())["lines"][0])

    def close(self) -> None:
        self.control.close()
        self.news.close()


@pytest.fixture
def keep() -> Any:
    keepers: list[Keeper] = []

    def start(command: str, log: Path | None = None, **env: str) -> Keeper:
        keepers.append(Keeper(command, log, **env))
        return keepers[-1]

    yield start
    for keeper in keepers:
        keeper.close()


def is_running(pid: int) -> bool:
    """Whether there is such a process and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_every_line_goes_to_both_places(keep: Any, tmp_path: Path) -> None:
    """In order, whole, stdout and stderr together, what is no UTF-8 as it is; the container's log has the same bytes."""
    log = tmp_path / "log"
    script = "echo $NAME; echo err >&2; seq 1 20000; printf '\\377\\n'; head -c 70000 /dev/zero | tr '\\0' x; exit 3"

    lines, exit_code = keep(script, log, NAME="a b").lines()

    numbers = [str(number) for number in range(1, 20001)]
    assert exit_code == 3
    assert lines[:20003] == ["a b", "err", *numbers, "\ufffd"]
    assert "".join(lines[20003:]) == "x" * 70000
    assert log.read_bytes().startswith(b"a b\nerr\n1\n")
    assert log.read_bytes().replace(b"\n", b"").endswith(b"20000\xff" + b"x" * 70000)


def test_when_its_actor_has_gone_it_ends_all_and_lands_the_last_words(keep: Any, tmp_path: Path) -> None:
    """Politely first, then not; a process in a session of its own is ended like the others."""
    log = tmp_path / "log"
    script = (
        "trap 'echo last words; exit 0' TERM; setsid sleep 1000 & echo $!; (trap '' TERM; exec sleep 1000) & echo $!; "
        "echo $$; while :; do sleep 0.05; done"
    )
    keeper = keep(script, log)
    wait_for(lambda: log.exists() and log.read_text().count("\n") == 3, "the command runs")
    pids = [int(word) for word in log.read_text().split()]
    assert all(map(is_running, pids))

    keeper.close()  # as when a Ray worker is killed: both ends at once

    wait_for(lambda: not any(map(is_running, pids)), "all processes have ended")
    assert log.read_text().endswith("last words\n")


def test_a_keeper_that_is_killed_takes_the_command_along(keep: Any) -> None:
    """The kernel sees to it: nothing runs unkept."""
    keeper = keep("echo $PPID $$; exec sleep 1000")
    keeper_pid, pid = map(int, keeper.first_line().split())

    os.kill(keeper_pid, signal.SIGKILL)

    wait_for(lambda: not is_running(pid), "the command has ended")


@pytest.mark.parametrize(("command", "exit_code"), [("kill -TERM $$", -15), ("exit 0", 0), ("/no/such/program", 127)])
def test_the_exit_code_is_the_commands(keep: Any, command: str, exit_code: int) -> None:
    """A signal is a negative one."""
    assert keep(command).lines()[1] == exit_code


def test_what_the_command_left_running_is_ended_with_it(keep: Any) -> None:
    """It may finish its last words within the drain time."""
    lines, exit_code = keep("(sleep 0.1; echo late; exec sleep 1000) & echo early").lines()

    assert (lines, exit_code) == (["early", "late"], 0)


def test_a_log_that_cannot_be_written_is_told_in_the_jobs_log(keep: Any, tmp_path: Path) -> None:
    """And the job goes on."""
    lines, exit_code = keep("echo hello", tmp_path / "no" / "such").lines()

    assert exit_code == 0
    assert lines[0].startswith("[iris: ")
    assert "No such file or directory" in lines[0]
    assert lines[1:] == ["hello"]


def test_signals_are_the_commands_own_as_ever(keep: Any) -> None:
    """Whatever whoever started the keeper had blocked or ignored, but for what the C library keeps to itself (32 and 33)."""
    lines, _ = keep("grep -E 'SigBlk|SigIgn' /proc/self/status").lines()
    ours = sum(1 << number - 1 for number in signal.valid_signals())

    assert [int(line.split()[1], 16) & ours for line in lines] == [0, 0]
