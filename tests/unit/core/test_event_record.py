"""The record beside a landed file: whole events only, each once."""

from __future__ import annotations

import errno
import json
import os
from typing import TYPE_CHECKING

import pytest

from iris_core.event_record import EventRecord

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log.events.jsonl"


@pytest.fixture
def record(path: Path) -> EventRecord:
    return EventRecord(os.fspath(path))


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("torn", [0, 1, 70_000, 200_000])
def test_a_torn_event_is_cut_off_however_long_it_is(record: EventRecord, path: Path, torn: int) -> None:
    """What a killed process left begins no line, so that the next event is one of its own."""
    record.append({"event": "one"})
    with path.open("ab") as file:
        file.write(b'{"at":"' + b"x" * torn)
    record.cut_torn_event()
    record.append({"event": "two"})
    assert read(path) == [{"event": "one"}, {"event": "two"}]


def test_nothing_but_a_torn_event_is_cut_to_nothing(record: EventRecord, path: Path) -> None:
    """The very first event may be torn, too; and where there is no file, there is nothing to cut."""
    record.cut_torn_event()
    assert not path.exists()
    path.write_bytes(b"x" * 100_000)
    record.cut_torn_event()
    assert path.read_bytes() == b""


def test_a_part_that_cannot_be_taken_back_is_cut_before_the_next_event(
    record: EventRecord, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that fails in the middle may refuse to cut as well; the next event is not swallowed by half a one."""

    def fails(_fd: int, _size: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    record.append({"event": "one"})
    write = os.write
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda fd, data: write(fd, data[:5]))
        patch.setattr(os, "ftruncate", fails)
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output"):
                record.append({"event": "two"})
    assert path.read_bytes().endswith(b'}\n{"eve')
    record.append({"event": "three"})
    assert read(path) == [{"event": "one"}, {"event": "three"}]


def test_an_event_that_was_written_is_not_written_again_as_closing_fails(
    record: EventRecord, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network file system may find only then that something is wrong: told as a failure, the event would be recorded at each try."""
    close = os.close

    def fails(fd: int) -> None:
        close(fd)
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", fails)
        record.append({"event": "one"})
    assert read(path) == [{"event": "one"}]


def test_a_reason_of_any_length_is_kept_short(record: EventRecord, path: Path) -> None:
    """It may be an engine's words, or what another program printed."""
    record.append({"event": "unreadable", "reason": "no " * 1_000_000})
    assert path.stat().st_size < 5000
    assert str(read(path)[0]["reason"]).startswith("no no no")
