"""Landed logs read back as `docker logs` would have given them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from iris_core.errors import LogFileError
from iris_core.log_reader import has_open_end, landed_sources, read_payloads

if TYPE_CHECKING:
    from pathlib import Path

STAMP = b"2026-01-01T00:00:00.5Z"


def test_gives_the_bytes_back(tmp_path: Path) -> None:
    """Newlines are put back where the container wrote them, and nowhere else; streams are told apart."""
    path = tmp_path / "a.txt"
    path.write_bytes(
        STAMP
        + b" stdout F one two\n"
        + STAMP
        + b" stderr P 50%\r\n"
        + STAMP
        + b" stderr F \n"
        + STAMP
        + b" stdout P \0\xff \n"
    )
    assert list(read_payloads(path)) == [(False, b"one two\n"), (True, b"50%\r"), (True, b"\n"), (False, b"\0\xff ")]


def test_leaves_out_a_line_that_is_being_written(tmp_path: Path) -> None:
    """A reader beside a running capture sees whole lines only."""
    path = tmp_path / "a.txt"
    path.write_bytes(STAMP + b" stdout F one\n" + STAMP + b" stdout F tw")
    assert list(read_payloads(path)) == [(False, b"one\n")]


def test_a_foreign_file_is_an_error_that_names_the_line(tmp_path: Path) -> None:
    """A file that iris has not landed is not passed off as a log."""
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello\n")
    with pytest.raises(LogFileError, match=r"a\.txt:1: "):
        list(read_payloads(path))


def test_sources_are_what_has_events_beside_it(tmp_path: Path) -> None:
    """Only landed files count, whatever other text lies in the directory."""
    (tmp_path / "workers").mkdir()
    for name in ("controller-logs", "workers/iris-tpu-1-w0"):
        (tmp_path / f"{name}.txt").touch()
        (tmp_path / f"{name}.events.jsonl").touch()
    (tmp_path / "notes.txt").touch()
    assert list(landed_sources(tmp_path)) == ["controller-logs", "workers/iris-tpu-1-w0"]


def test_no_such_directory_is_an_error(tmp_path: Path) -> None:
    """A wrong directory is not an empty one."""
    with pytest.raises(LogFileError, match="is not a directory"):
        landed_sources(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("events", "is_open"),
    [
        ([], False),
        (["started"], True),
        (["started", "exited"], False),
        (["started", "exited", "restarted", "drained"], True),
        (["started", "unverified-tail", "waiting"], False),
        (["started", "unverified-tail", "re-created"], True),
    ],
)
def test_the_record_tells_whether_an_end_is(tmp_path: Path, events: list[str], *, is_open: bool) -> None:
    """Of the last container, by what was told after its lines began."""
    lives = {"started", "restarted", "re-created"}
    records = [{"event": event} | ({"from": 0, "container": "1"} if event in lives else {}) for event in events]
    (tmp_path / "a.events.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    assert has_open_end(tmp_path / "a.txt") == is_open
