"""The program that runs in a host's container, without Ray."""

from __future__ import annotations

import json
import os
import stat
from typing import TYPE_CHECKING

import pytest

from iris_adapters.gcloud import ray_node
from iris_adapters.gcloud.ray_node import Node, TaskLogs, head_options, make_token, worker_options
from iris_core.ray_join import HOST_DIRECTORY
from iris_core.ray_names import TASK_LOG_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

GONE = 4_194_305  # no process has a number above Linux's most, 4,194,304


class Rig:
    """Ray's directory, and pipes in the place of the container's output."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "session_2026-11-24_19-00-00_1_2" / "logs"
        self.directory.mkdir(parents=True)
        self._readers = []
        writers = []
        for _ in range(2):
            reader, writer = os.pipe()
            os.set_blocking(reader, False)
            self._readers.append(reader)
            writers.append(writer)
        self._writers = writers
        self.logs = TaskLogs(directory, stdout=writers[0], stderr=writers[1])
        self.now = 0.0

    def write(self, text: str, *, name: str = "w1", pid: int = 0, suffix: str = ".out") -> Path:
        """Print as a task of a worker process does; pid 0: of one that lives."""
        path = self.directory / f"worker-{name}-01000000-{pid or os.getpid()}{suffix}"
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
        return path

    def turn(self, seconds: float = 0.2) -> tuple[str, str]:
        """One turn of the program's; what it wrote on standard output and standard error."""
        self.now += seconds
        self.logs.copy(self.now)
        return self.read()

    def read(self) -> tuple[str, str]:
        """What was written since the last time."""
        out, err = (self._read(reader) for reader in self._readers)
        return out, err

    @staticmethod
    def _read(reader: int) -> str:
        try:
            return os.read(reader, 1 << 20).decode()
        except BlockingIOError:
            return ""

    def close(self) -> None:
        """Close the pipes."""
        for descriptor in (*self._readers, *self._writers):
            os.close(descriptor)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.logs.close()
    made.close()


def test_what_tasks_print_is_passed_on(rig: Rig) -> None:
    """Line by line, each stream on its own; what Ray notes for itself is left out."""
    rig.write(":job_id:01000000\n:task_name:f\none\ntwo\nthr")
    rig.write(":job_id:01000000\nwarning\n", suffix=".err")
    assert rig.turn() == ("one\ntwo\n", "warning\n")
    rig.write("ee\n:actor_name:A\n")
    assert rig.turn() == ("three\n", "")
    assert rig.turn() == ("", "")


def test_a_line_without_an_end_is_passed_on_in_the_end(rig: Rig) -> None:
    """A progress bar is not held back for ever, and nothing is glued to it."""
    rig.write("50 %")
    assert rig.turn() == ("", "")
    assert rig.turn(4.0) == ("", "")
    assert rig.turn(4.0) == ("50 %\n", "")
    rig.write("100 %\n")
    assert rig.turn() == ("100 %\n", "")


def test_a_killed_task_loses_nothing(rig: Rig) -> None:
    """What it printed before SIGKILL is in its file: it is passed on to the last byte, and then the file is let go."""
    path = rig.write("last words\nand half", pid=GONE)
    assert rig.turn() == ("last words\n", "")
    assert rig.turn() == ("and half\n", "")
    path.unlink()
    assert rig.turn() == ("", "")


def test_other_files_of_rays_are_left_alone(rig: Rig) -> None:
    """Only what tasks print is wanted."""
    (rig.directory / "raylet.out").write_text("noise\n", encoding="utf-8")
    (rig.directory / "python-core-worker-1_2.log").write_text("noise\n", encoding="utf-8")
    rig.write("x\n", suffix=".log")
    assert rig.turn() == ("", "")


def test_the_end_passes_all_on(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the node is stopped, also what is more than one turn takes, and the line that has no end."""
    monkeypatch.setattr(ray_node, "MOST_READ_BYTES", 4)
    rig.write("one\ntwo\nthree")
    assert rig.turn() == ("one\n", "")
    rig.logs.close()
    assert rig.read() == ("two\nthree\n", "")


def test_the_token_is_made_once(tmp_path: Path) -> None:
    """256 bits, in a file that only root may read; whoever comes later reads it."""
    directory = tmp_path / "iris"
    token = make_token(directory)
    assert len(bytes.fromhex(token)) == 32
    assert make_token(directory) == token
    assert stat.S_IMODE((directory / "token").stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [path.name for path in directory.iterdir()] == ["token"]


def test_the_dashboard_listens_on_loopback_only() -> None:
    """So only a tunnel reaches it."""
    options = head_options({"name": "iris-controller-x", "dashboard_port": 4711})
    assert {"--dashboard-host=127.0.0.1", "--dashboard-port=4711", "--num-cpus=0"} <= set(options)


def test_a_worker_says_what_it_offers() -> None:
    """The token is no part of a command line."""
    join = {"head": "10.0.0.2", "token": "s" * 64, "name": "s-w1", "resources": {"TPU": 4.0}, "labels": {"a": "b"}}
    options = worker_options(join)
    assert options == [
        "--address=10.0.0.2:6379",
        "--node-name=s-w1",
        '--resources={"TPU": 4.0}',
        "--labels=a=b",
    ]


def test_a_worker_waits_for_its_join_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """It says so once; a file that cannot be read is told without what is in it."""
    monkeypatch.setattr(ray_node, "DIRECTORY", tmp_path)
    node = Node({"role": "worker"})
    assert node._wanted() is None
    assert node._wanted() is None
    assert capfd.readouterr().err.count("waiting for iris to say which controller to join") == 1
    (tmp_path / "join").write_text('{"token": "secret', encoding="utf-8")
    assert node._wanted() is None
    assert "secret" not in capfd.readouterr().err
    (tmp_path / "join").write_text(json.dumps({"head": "h"}), encoding="utf-8")
    assert node._wanted() == {"head": "h"}


def test_both_sides_mean_the_same_files() -> None:
    """The program imports nothing of iris, so what both must know is written twice."""
    assert str(ray_node.DIRECTORY) == HOST_DIRECTORY
    assert TASK_LOG_VARIABLE in ray_node.ENVIRONMENT
