"""The capture of much that comes fast: it is read of the log's own file on the host, and the engine has the last word."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iris_core import json_file_reading, log_reading, process_inbox
from tests.support.log_files import make_plenty
from tests.unit.core.capture_rig import NAME, CaptureRig

if TYPE_CHECKING:
    from pathlib import Path

    from iris_adapters.fakes import FakeContainer

FEW = 10  # lines, with which nobody needs the file
MANY = 2000  # lines that are more than enough
OVERLAP = 5000  # bytes


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CaptureRig:
    monkeypatch.setattr(process_inbox, "_HIGH_BYTES", 8000)  # else all of an answer comes at once
    make_plenty(monkeypatch, 20_000)
    monkeypatch.setattr(json_file_reading, "_OVERLAP_BYTES", OVERLAP)
    monkeypatch.setattr(json_file_reading, "_ENDS", (4000, 300_000))
    monkeypatch.setattr(log_reading, "_MANY_LINES", MANY)
    rig = CaptureRig(tmp_path)
    rig.engine.piece_bytes = 4096
    rig.begin()
    return rig


def write(container: FakeContainer, count: int) -> None:
    begin = len(container.written)
    for number in range(begin, begin + count):
        container.write(
            b'line "%d"\twith what JSON escapes\n' % number,
            stream="stdout" if container.tty or number % 3 else "stderr",
        )


def landed_once(rig: CaptureRig, container: FakeContainer) -> bool:
    return rig.landed() == [entry.landed for entry in container.written]


def commands(rig: CaptureRig) -> list[str]:
    """What was run on the host beside talking to the engine, each time."""
    return [name for process in rig.shell.started for name in ("tail", "stat") if name in process.argv]


@pytest.mark.parametrize("tty", [False, True])
def test_a_long_log_is_read_of_its_file(rig: CaptureRig, *, tty: bool) -> None:
    """A log that is long when iris first looks lands by its file, which root may read; what comes then is the engine's again."""
    container = rig.engine.create(NAME, tty=tty)
    write(container, MANY)
    rig.settle(5)
    assert landed_once(rig, container)
    assert commands(rig) == ["tail", "tail"]
    assert [process.argv[:2] for process in rig.shell.started if "tail" in process.argv] == [("sudo", "-n")] * 2
    write(container, FEW)
    rig.settle()
    assert landed_once(rig, container)
    assert commands(rig) == ["tail", "tail"]


def test_a_short_log_is_not(rig: CaptureRig) -> None:
    container = rig.engine.create(NAME)
    write(container, FEW)
    rig.settle(5)
    assert landed_once(rig, container)
    assert commands(rig) == []


def test_nor_is_one_that_may_rotate(rig: CaptureRig) -> None:
    """Its file may be another one at any moment."""
    container = rig.engine.create(NAME, can_rotate=True)
    write(container, MANY)
    rig.settle(5)
    assert landed_once(rig, container)
    assert commands(rig) == []


def test_much_that_comes_in_a_follow_is_read_of_the_file_from_where_it_has_landed(rig: CaptureRig) -> None:
    """A second pass does not read the file from its beginning."""
    container = rig.engine.create(NAME)
    write(container, MANY)
    rig.settle(5)
    before = len(rig.engine.read_files)
    size = len(container.json_file)
    write(container, MANY)
    rig.settle(5)
    assert landed_once(rig, container)
    assert rig.engine.read_files[before] == size - OVERLAP


def test_a_new_iris_looks_for_the_place_at_the_files_end_first(rig: CaptureRig) -> None:
    """How far an iris before has come is not on record: the file's end is nearer than its beginning."""
    container = rig.engine.create(NAME)
    write(container, 3 * MANY)
    rig.settle(5)
    rig.kill()
    write(container, MANY)
    rig.engine.read_files.clear()
    rig.begin()
    rig.settle(5)
    assert landed_once(rig, container)
    assert "stat" in commands(rig)
    assert rig.engine.read_files[:2] == [len(container.json_file) - end - OVERLAP for end in (4000, 300_000)]


def test_a_file_that_may_not_be_read_is_left_alone_for_minutes(rig: CaptureRig) -> None:
    """A login user without sudo has what the engine serves; nothing is told of it, for nothing is missing."""
    rig.engine.refuse_files = "Permission denied"
    container = rig.engine.create(NAME)
    for _ in range(3):
        write(container, MANY)
        rig.settle(5)
    assert landed_once(rig, container)
    assert rig.kinds() == ["connected", "waiting", "started"]
    assert commands(rig) == ["tail"]
    rig.settle(300)
    write(container, MANY)
    rig.settle(5)
    assert landed_once(rig, container)
    assert len(commands(rig)) == 2


def test_a_file_that_is_damaged_is_left_to_the_engine(rig: CaptureRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """What lands of it before the damage is known again in what the engine serves."""
    container = rig.engine.create(NAME)
    write(container, MANY)
    whole = container.json_file
    half = whole.index(b"\n", len(whole) // 2) + 1
    monkeypatch.setattr(type(container), "json_file", whole[:half] + b"\0" * 300 + b"\n" + whole[half:])
    rig.settle(5)
    assert landed_once(rig, container)
    assert "tail" in commands(rig)


@pytest.mark.parametrize("break_after", [5000, 30_000, 100_000, 150_000])
def test_a_connection_that_is_lost_in_the_middle_costs_nothing(rig: CaptureRig, break_after: int) -> None:
    container = rig.engine.create(NAME)
    write(container, MANY)
    rig.engine.break_after_bytes = break_after
    rig.settle(1)
    rig.engine.break_after_bytes = None
    write(container, FEW)
    rig.settle(60)
    assert landed_once(rig, container)


def test_an_entry_that_is_being_written_is_taken_once_it_is_whole(rig: CaptureRig) -> None:
    container = rig.engine.create(NAME)
    write(container, MANY)
    rig.engine.torn_bytes = 30
    rig.settle(5)
    assert landed_once(rig, container)
    assert "tail" in commands(rig)


def test_an_ended_container_is_complete_when_the_engine_says_so(
    rig: CaptureRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its file may lack what the engine has still to write there."""
    container = rig.engine.create(NAME)
    write(container, MANY)
    container.stop()
    whole = container.json_file
    monkeypatch.setattr(type(container), "json_file", whole[: whole.index(b"\n", len(whole) // 2) + 1])
    rig.settle(5)
    assert landed_once(rig, container)
    assert "tail" in commands(rig)
    assert rig.kinds()[-1] == "exited"


def test_a_drain_is_not_done_with_the_file_alone(rig: CaptureRig) -> None:
    """Only the engine's answer proves that a log has landed to its end."""
    container = rig.engine.create(NAME)
    write(container, MANY)
    rig.drain()
    assert landed_once(rig, container)
    assert rig.kinds()[-1] == "drained"
    last_read = max(index for index, process in enumerate(rig.shell.started) if "tail" in process.argv)
    assert any(process.socket_path for process in rig.shell.started[last_read + 1 :])


def test_lines_that_repeat_are_not_looked_for_in_the_file(rig: CaptureRig) -> None:
    """The place in them is known only by counting from the log's beginning, which the engine's reading does."""
    container = rig.engine.create(NAME)
    for _ in range(MANY):
        container.write(b"the same, at the same time\n", timestamp="2026-01-01T00:00:00.500000000Z")
    rig.settle(5)
    read = len(rig.engine.read_files)
    for _ in range(MANY):
        container.write(b"the same, at the same time\n", timestamp="2026-01-01T00:00:00.500000000Z")
    rig.settle(30)
    assert landed_once(rig, container)
    assert len(rig.engine.read_files) == read
