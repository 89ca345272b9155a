"""The starting of gcloud, with a small program in gcloud's place."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes import FakeClock
from iris_adapters.gcloud.command import GcloudCommand
from iris_core.errors import InventoryError, InventoryToolError, PermissionDeniedError, ResourceNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LOCKED = 'echo "ERROR: gcloud crashed (OperationalError): database is locked" >&2; exit 1'


class Place:
    """A directory with a `gcloud` of the test's own, and commands that use it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clock = FakeClock(auto_advance=True)
        self.commands: list[GcloudCommand] = []

    def gcloud(self, script: str, *, most_commands: int = 4, read_timeout_seconds: float = 30) -> GcloudCommand:
        """A command whose gcloud is this shell script; `$HERE` is the directory."""
        program = self.directory / "gcloud"
        program.write_text(f"#!/bin/sh\nHERE={self.directory}\n{script}\n", encoding="utf-8")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        path = f"{self.directory}{os.pathsep}{os.environ['PATH']}"
        command = GcloudCommand(
            "my-project",
            self.clock,
            most_commands=most_commands,
            read_timeout_seconds=read_timeout_seconds,
            program=str(program),
            environment={**os.environ, "PATH": path, "GREETING": "hello"},
        )
        self.commands.append(command)
        return command

    def lines(self, name: str) -> list[str]:
        """The lines of a file that the script wrote, empty while there is none."""
        file = self.directory / name
        return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    for command in made.commands:
        command.close()


def wait_for(condition: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait in real time for what another process does."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        threading.Event().wait(0.01)


def is_alive(pid: str) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123 - as short as it gets
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_gcloud_gets_project_format_and_no_chance_to_ask(place: Place) -> None:
    """Its stdout is the answer; what it says on stderr is not, as long as it succeeds."""
    command = place.gcloud(
        'echo "$@"; echo "$CLOUDSDK_CORE_DISABLE_PROMPTS $CLOUDSDK_CORE_SHOULD_PROMPT_TO_ENABLE_API $GREETING"; '
        'read -r answer || echo "nobody answers"; echo WARNING >&2'
    )
    assert command.run(["compute", "instances", "list", "--zones=z"]).splitlines() == [
        "compute instances list --zones=z --project=my-project --format=json --quiet",
        "1 false hello",
        "nobody answers",
    ]


def test_the_exit_status_is_looked_at_before_the_answer(place: Place) -> None:
    """A failed list prints `[]` all the same."""
    command = place.gcloud('echo "[]"; echo "ERROR: (gcloud.x) NOT_FOUND: the zone" >&2; exit 1')
    with pytest.raises(ResourceNotFoundError) as caught:
        command.run(["x"])
    assert caught.value.exit_status == 1
    assert caught.value.argv[1:] == ("x", "--project=my-project", "--format=json", "--quiet")


def test_a_list_that_was_refused_is_an_error_though_gcloud_exits_with_0(place: Place) -> None:
    """`gcloud compute … list` warns of refused requests, prints `[]` and calls it success."""
    command = place.gcloud(
        "echo \"WARNING: Some requests did not succeed.\n - Required 'x' permission for 'y'\" >&2; echo \"[]\"".replace(
            "\\'", "'"
        )
    )
    with pytest.raises(PermissionDeniedError):
        command.run(["x"])


def test_a_locked_database_is_tried_again(place: Place) -> None:
    """With pauses that grow, on the injected clock."""
    command = place.gcloud(
        f'echo x >> "$HERE/tries"; [ "$(wc -l < "$HERE/tries")" -ge 3 ] || {{ {LOCKED}; }}; echo "[]"'
    )
    assert command.run(["x"]) == "[]\n"
    assert len(place.lines("tries")) == 3
    assert 1.5 <= place.clock.monotonic() <= 3.0


def test_a_database_that_stays_locked_is_an_error(place: Place) -> None:
    """Five tries are enough."""
    command = place.gcloud(f'echo x >> "$HERE/tries"; {LOCKED}')
    with pytest.raises(InventoryToolError, match="got into each other's way"):
        command.run(["x"])
    assert len(place.lines("tries")) == 5


def test_too_many_requests_are_waited_out(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """A creation outlasts a minute of them, on the injected clock, and says what it waits for."""
    limited = (
        "echo 'ERROR: (gcloud.x) RESOURCE_EXHAUSTED: Maximum number of CreateNode requests per minute' >&2; exit 1"
    )
    command = place.gcloud(
        f'echo x >> "$HERE/tries"; [ "$(wc -l < "$HERE/tries")" -ge 6 ] || {{ {limited}; }}; echo "[]"'
    )
    caplog.set_level("INFO", "iris.cluster")
    assert command.run(["x"], changes=True) == "[]\n"
    assert len(place.lines("tries")) == 6
    assert 31.0 <= place.clock.monotonic() <= 62.0
    assert caplog.text.count("too many requests") == 5


def test_closing_ends_the_wait_between_tries(place: Place) -> None:
    """Nobody waits for the cloud to calm down once iris ends."""
    command = place.gcloud("echo 'ERROR: rateLimitExceeded' >&2; exit 1")
    clock = command._clock = FakeClock()
    with ThreadPoolExecutor(1) as pool:
        future = pool.submit(command.run, ["x"])
        clock.wait_until_waiting(1)
        command.close()
        with pytest.raises(InventoryToolError, match="given up"):
            future.result(10)


def test_other_failures_are_not_tried_again(place: Place) -> None:
    """Gcloud does so itself where it makes sense."""
    command = place.gcloud('echo x >> "$HERE/tries"; exit 1')
    with pytest.raises(InventoryError):
        command.run(["x"])
    assert len(place.lines("tries")) == 1


def test_a_missing_gcloud_is_an_error_that_says_how_to_get_it(tmp_path: Path) -> None:
    """No traceback for a machine that was not set up."""
    command = GcloudCommand("p", FakeClock(), environment={"PATH": str(tmp_path)})
    with pytest.raises(
        InventoryToolError, match=r"gcloud is not installed here[\s\S]*cloud.google.com/sdk/docs/install"
    ):
        command.run(["x"])


def test_a_gcloud_that_cannot_be_run_is_an_error(place: Place) -> None:
    """An executable that is none is told as such."""
    command = place.gcloud("")
    (place.directory / "gcloud").write_bytes(b"\x7fELF nonsense")
    with pytest.raises(InventoryToolError, match="could not be started"):
        command.run(["x"])


def test_a_gcloud_that_takes_too_long_is_ended_with_its_children(place: Place) -> None:
    """Nothing of it survives, not even a child that ignores the polite signal."""
    command = place.gcloud(
        'sh -c \'trap "" TERM; echo $$ > "$HERE/child"; while :; do sleep 0.1; done\' & echo $$ > "$HERE/pid"; wait'.replace(
            "$HERE", str(place.directory)
        ),
        read_timeout_seconds=0.5,
    )
    with pytest.raises(InventoryToolError, match=r"did not end within 0.5 s"):
        command.run(["x"])
    (pid,), (child,) = place.lines("pid"), place.lines("child")
    wait_for(lambda: not is_alive(pid) and not is_alive(child))


def test_closing_ends_what_runs_and_refuses_what_comes(place: Place) -> None:
    """Both the running command and the one that waits for its place end at once with an error."""
    command = place.gcloud('echo $$ >> "$HERE/pids"; exec sleep 60', most_commands=1)
    with ThreadPoolExecutor(2) as pool:
        futures = [pool.submit(command.run, ["x"]) for _ in range(2)]
        wait_for(lambda: bool(place.lines("pids")))
        started = time.monotonic()
        command.close()
        command.close()
        for future in futures:
            with pytest.raises(InventoryToolError, match="given up"):
                future.result(10)
        assert time.monotonic() - started < 2
    (pid,) = place.lines("pids")
    assert not is_alive(pid)
    with pytest.raises(InventoryToolError, match="given up"):
        command.run(["x"])


def test_calling_off_ends_changes_that_run_or_wait_and_nothing_else(place: Place) -> None:
    """What reads goes on, and what comes later is carried out."""
    command = place.gcloud(
        'case "$1" in create) echo $$ >> "$HERE/pids"; exec sleep 60;; '
        'list) echo x > "$HERE/listing"; while [ ! -e "$HERE/go" ]; do sleep 0.02; done;; esac; echo "[]"',
        most_commands=3,
    )
    with ThreadPoolExecutor(4) as pool:
        creates = [pool.submit(command.run, ["create"], changes=True) for _ in range(3)]
        listing = pool.submit(command.run, ["list"])
        wait_for(lambda: len(place.lines("pids")) == 2 and bool(place.lines("listing")))
        command.call_off()
        for create in creates:
            with pytest.raises(InventoryToolError, match="may still happen"):
                create.result(10)
        (place.directory / "go").touch()
        assert listing.result(10) == "[]\n"
    assert not any(map(is_alive, place.lines("pids")))
    assert len(place.lines("pids")) == 2
    assert command.run(["delete"], changes=True) == "[]\n"


def test_calling_off_ends_a_call_that_has_still_to_change_something(place: Place) -> None:
    """What took its era before is refused, however late it comes; what reads is not, nor what a later call changes."""
    command = place.gcloud('echo x >> "$HERE/ran"; echo "[]"')
    era = command.era()
    assert command.run(["create"], changes=True, era=era) == "[]\n"
    command.call_off()
    assert command.run(["list"], era=era) == "[]\n"
    with pytest.raises(InventoryToolError, match="may still happen"):
        command.run(["create"], changes=True, era=era)
    assert len(place.lines("ran")) == 2
    assert command.run(["delete"], changes=True, era=command.era()) == "[]\n"


def test_so_many_run_at_a_time_and_no_more(place: Place) -> None:
    """The bound holds for any number of threads."""
    command = place.gcloud('echo + >> "$HERE/trace"; sleep 0.05; echo - >> "$HERE/trace"; echo "[]"', most_commands=2)
    with ThreadPoolExecutor(8) as pool:
        assert len(list(pool.map(lambda _: command.run(["x"]), range(8)))) == 8
    running = most = 0
    for line in place.lines("trace"):
        running += 1 if line == "+" else -1
        most = max(most, running)
    assert most == 2


def test_changes_leave_a_place_to_those_who_read(place: Place) -> None:
    """While slices are created for minutes, discovery still gets its answers."""
    command = place.gcloud(
        'case "$1" in list) echo "[]";; *) echo x >> "$HERE/creates"; exec sleep 60;; esac', most_commands=3
    )
    with ThreadPoolExecutor(4) as pool:
        creates = [pool.submit(command.run, ["create"], changes=True) for _ in range(4)]
        wait_for(lambda: len(place.lines("creates")) == 2)
        assert command.run(["list"]) == "[]\n"
        assert len(place.lines("creates")) == 2
        command.close()
        for create in creates:
            with pytest.raises(InventoryToolError):
                create.result(10)


def test_an_interrupt_of_the_terminal_does_not_reach_gcloud(place: Place) -> None:
    """Ctrl-C goes to the terminal's foreground group; gcloud is in a session of its own, and iris decides what becomes of it."""
    place.gcloud('echo $$ > "$HERE/pid"; ps -o pgid=,sid= -p $$ | tr -s " " "\\n" > "$HERE/ids"; echo "[]"').run(["x"])
    (pid,) = place.lines("pid")
    assert [line for line in place.lines("ids") if line] == [pid, pid]


def test_an_interrupt_of_iris_ends_the_gcloud_it_waits_for(place: Place) -> None:
    """No gcloud stays behind when the waiting thread is interrupted."""
    place.gcloud('echo $$ > "$HERE/pid"; exec sleep 60')
    program = (
        "from iris_adapters.gcloud.command import GcloudCommand\n"
        "from iris_adapters.system_clock import SystemClock\n"
        f"GcloudCommand('p', SystemClock(), program={str(place.directory / 'gcloud')!r}).run(['x'])\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen([sys.executable, "-c", program], env=environment, stderr=subprocess.PIPE) as iris:
        wait_for(lambda: bool(place.lines("pid")))
        iris.send_signal(signal.SIGINT)
        _, stderr = iris.communicate(timeout=20)
    assert b"KeyboardInterrupt" in stderr
    (pid,) = place.lines("pid")
    assert not is_alive(pid)
