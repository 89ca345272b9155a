"""How the fault suite knows what an engine wrote, also of what it has rotated away since."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.integration.faults.truth import landed_form, read_true_log
from tests.integration.faults.watch_logs import Watcher

if TYPE_CHECKING:
    from pathlib import Path


def entry(log: str, time: str = "2026-01-01T00:00:00.5Z", stream: str = "stdout") -> bytes:
    return json.dumps({"log": log, "stream": stream, "time": time}).encode() + b"\n"


@pytest.mark.parametrize(
    ("written", "landed"),
    [
        (entry("hello\n"), b"2026-01-01T00:00:00.500000000Z stdout F hello\n"),
        (entry("part", stream="stderr"), b"2026-01-01T00:00:00.500000000Z stderr P part\n"),
        (entry("\n", "2026-01-01T00:00:00Z"), b"2026-01-01T00:00:00.000000000Z stdout F \n"),
        (entry("a\0\rb\n", "2026-01-01T00:00:00.123456789Z"), b"2026-01-01T00:00:00.123456789Z stdout F a\0\rb\n"),
        (entry("\ufffd\n"), b"2026-01-01T00:00:00.500000000Z stdout F \xef\xbf\xbd\n"),
    ],
)
def test_an_entry_of_a_json_file_log_in_its_landed_form(written: bytes, landed: bytes) -> None:
    """Times have nine digits, and a part of a line is marked as one."""
    assert landed_form(written) == landed


class Engine:
    """Writes and rotates as Docker does."""

    def __init__(self, containers: Path) -> None:
        self.directory = containers / "id"
        self.directory.mkdir(parents=True)
        self.base = self.directory / "id-json.log"

    def write(self, number: int) -> None:
        with self.base.open("ab") as file:
            file.write(entry(f"{number}\n"))

    def rotate(self) -> None:
        for number in (2, 1, 0):
            path = self.directory / (f"id-json.log.{number}" if number else "id-json.log")
            if path.exists():
                path.rename(self.directory / f"id-json.log.{number + 1}")
        (self.directory / "id-json.log.3").unlink(missing_ok=True)
        self.base.touch()


def test_what_is_rotated_away_is_still_known(tmp_path: Path) -> None:
    """All lines, in order, with the places where files began, even after the container was removed."""
    engine = Engine(tmp_path / "containers")
    watcher = Watcher(tmp_path / "containers", tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    for number in range(20):
        engine.write(number)
        watcher.look()
        engine.write(100 + number)  # after it was looked at
        if number % 3 == 0:
            engine.rotate()
        if number % 6 == 0:
            engine.write(200 + number)
            engine.rotate()
    watcher.look()
    for path in engine.directory.iterdir():
        path.unlink()
    engine.directory.rmdir()
    watcher.look()
    expected = [
        value for number in range(20) for value in (number, 100 + number, *([200 + number] if number % 6 == 0 else []))
    ]
    log = read_true_log("id", tmp_path / "kept" / "id", removed=True)
    assert [int(line.split()[-1]) for line in log.lines] == expected
    assert list(log.file_starts[:4]) == [0, 2, 3, 9]
    assert not watcher.missed


def test_a_watch_that_was_too_slow_knows_it(tmp_path: Path) -> None:
    """Three rotations between two looks: a file came and went."""
    engine = Engine(tmp_path / "containers")
    watcher = Watcher(tmp_path / "containers", tmp_path / "kept")
    (tmp_path / "kept").mkdir()
    for rotations in (2, 3):
        watcher.look()
        for _ in range(rotations):
            engine.write(1)
            engine.rotate()
        watcher.look()
        assert bool(watcher.missed) == (rotations == 3)
