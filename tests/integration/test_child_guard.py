"""Programs that must not outlive the process that started them: real processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from iris_adapters.child_guard import release, start_guarded

PARENT = """
import os, sys, time
from iris_adapters.child_guard import start_guarded
import subprocess
from iris_adapters.child_guard import guard
children = [start_guarded(["sh", "-c", "sleep 600 & wait"], dict(os.environ)) for _ in range(2)]
children.append(subprocess.Popen(["sh", "-c", "sleep 600 & wait"], start_new_session=True, stdout=subprocess.DEVNULL))
guard(children[-1])
print(*(child.pid for child in children), flush=True)
time.sleep(600)
"""


def group_is_alive(group: int) -> bool:
    """Whether a process of the group runs (zombies do not)."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            return True
    return False


def wait_for_death(groups: list[int]) -> None:
    deadline = time.monotonic() + 20
    while any(map(group_is_alive, groups)):
        assert time.monotonic() < deadline, f"{groups} live on"
        threading.Event().wait(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_they_end_with_a_parent_that_is_killed(number: signal.Signals) -> None:
    """All of each one's group, whatever kills the parent."""
    environment = {**os.environ, "PYTHONPATH": "src"}
    with subprocess.Popen([sys.executable, "-c", PARENT], env=environment, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        groups = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(groups) == 3
        assert all(map(group_is_alive, groups))
        parent.send_signal(number)
    wait_for_death(groups)


def test_output_and_exit_status_are_the_programs_own() -> None:
    """It gets its arguments and its environment unchanged, and nothing to read."""
    process = start_guarded(["sh", "-c", 'cat; echo "$1 $X"; exit 3', "sh", "a  b"], {**os.environ, "X": "y"})
    stdout, stderr = process.communicate(timeout=20)
    release(process)
    assert (stdout, stderr, process.returncode) == (b"a  b y\n", b"", 3)


def test_a_program_that_is_not_there_ends_as_in_a_shell() -> None:
    """127, and the shell's word for it."""
    process = start_guarded(["/nowhere/gcloud"], dict(os.environ))
    _, stderr = process.communicate(timeout=20)
    release(process)
    assert process.returncode == 127
    assert b"/nowhere/gcloud" in stderr


def test_the_guardian_goes_when_it_has_nothing_to_guard() -> None:
    """Nothing is left in this process's children; releasing twice is fine."""
    before = children()
    processes = [start_guarded(["true"], dict(os.environ)) for _ in range(4)]
    for process in processes:
        process.communicate(timeout=20)
        release(process)
        release(process)
    assert children() == before


def children() -> set[str]:
    tasks = Path(f"/proc/{os.getpid()}/task")
    return {pid for task in tasks.iterdir() for pid in (task / "children").read_text().split()}
