"""The pump between a source and its landed file, where the disk is in the way."""

from __future__ import annotations

import errno
import gc
import os
import sys
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

from iris_core.log_file import LandedFile
from iris_core.log_source import LogSource
from iris_core.process_inbox import ProcessInbox
from tests.unit.core.capture_rig import HOST, NAME, CaptureRig

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_core.log_protocol import Action, Event


@pytest.fixture
def rig(tmp_path: Path) -> CaptureRig:
    rig = CaptureRig(tmp_path)
    rig.begin()
    return rig


def test_room_for_the_lines_but_not_for_the_event_doubles_nothing(rig: CaptureRig) -> None:
    """A last block may take the lines and not the event that says so: the lines have landed, the event is owed."""
    container = rig.engine.create(NAME)
    rig.settle()
    rig.file.full = True
    container.write(b"one\n")
    rig.settle()
    rig.file.full, rig.file.events_full = False, True
    rig.settle()
    container.write(b"two\n")
    rig.settle()
    assert rig.landed() == [entry.landed for entry in container.written]
    assert rig.kinds()[-2:] == ["paused", "resumed"]
    rig.file.events_full = False
    container.write(b"three\n")
    rig.settle()
    assert rig.landed() == [entry.landed for entry in container.written]
    assert [record["event"] for record in rig.records()][-2:] == ["paused", "resumed"]


def test_a_second_full_disk_is_told_though_the_first_was_not_recorded(rig: CaptureRig) -> None:
    """What is owed to the record does not keep a new pause from being told."""
    container = rig.engine.create(NAME)
    rig.settle()
    for _ in range(2):
        rig.file.full = True
        container.write(b"one\n")
        rig.settle()
        rig.file.full, rig.file.events_full = False, True
        rig.settle()
    assert rig.kinds()[-4:] == ["paused", "resumed", "paused", "resumed"]
    rig.file.events_full = False
    container.write(b"two\n")
    rig.settle()
    assert [record["event"] for record in rig.records()][-4:] == ["paused", "resumed", "paused", "resumed"]
    assert rig.landed() == [entry.landed for entry in container.written]


def test_what_has_come_is_taken_before_the_source_is_told_that_the_time_is_over(rig: CaptureRig) -> None:
    """A pump that is late must not take a follow for silent whose bytes are here: to read anew would make it later still."""
    container = rig.engine.create(NAME)
    container.write(b"one\n")
    rig.settle(3)  # the follow has begun
    reads = len(rig.engine.requests)
    rig.clock.advance(60)  # far over any silence that a first follow is allowed
    arrive = rig.clock.monotonic

    def monotonic() -> float:
        """It comes when the inboxes have been looked at, and the timers have not."""
        if not container.written[1:]:
            container.write(b"two\n")
        return arrive()

    rig.clock.monotonic = monotonic  # type: ignore[method-assign]
    rig.pump.step()
    rig.pump.step()
    assert rig.landed() == [entry.landed for entry in container.written]
    assert len(rig.engine.requests) == reads


def test_many_sources_let_lines_gather(rig: CaptureRig) -> None:
    """To wake up for each of a thousand lines a second is dear; for a line of the only one, it is not."""
    rig.engine.create(NAME)
    rig.settle(3)
    assert rig.pump.gather_seconds == 0
    rig.pump.slots *= 500
    assert rig.pump.gather_seconds == pytest.approx(0.015)
    rig.pump.slots *= 4
    assert rig.pump.gather_seconds == 0.03


@pytest.mark.parametrize("comes_back", [True, False])
def test_stop_while_a_new_life_cannot_be_recorded(tmp_path: Path, comes_back: bool) -> None:  # noqa: FBT001 - two cases
    """A disk that is full when a container is first seen, and a stop then: drained if there is room in time, else told."""
    rig = CaptureRig(tmp_path)
    container = rig.engine.create(NAME)
    container.write(b"one\n")
    rig.begin()
    rig.file.full = True
    rig.settle()
    rig.pump.drain(rig.pump.slots, 10)
    rig.settle(5)
    rig.file.full = not comes_back
    rig.settle(6)
    assert rig.slot.done
    assert rig.kinds()[-1] == ("drained" if comes_back else "not-drained")
    assert rig.landed() == ([container.written[0].landed] if comes_back else [])


def delete(path: Path) -> None:
    path.unlink()


def move(path: Path) -> None:
    path.rename(path.with_name("old.txt"))


def replace(path: Path) -> None:
    path.write_bytes(path.rename(path.with_name("old.txt")).read_bytes())


def empty(path: Path) -> None:
    os.truncate(path, 0)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("spoil", [delete, move, replace, empty, cut])
@pytest.mark.parametrize("busy", [True, False])
@pytest.mark.parametrize("can_rotate", [True, False])
def test_a_landed_file_that_somebody_takes_away_or_changes_is_told(
    rig: CaptureRig, spoil: Callable[[Path], None], *, busy: bool, can_rotate: bool
) -> None:
    """Nothing more is landed where nobody finds it, or behind what is no longer there; neither is it called drained."""
    container = rig.engine.create(NAME, can_rotate=can_rotate)
    for number in range(100):
        container.write(b"line %d\n" % number)
    rig.settle()
    spoil(rig.path)
    for number in range(20):
        if busy:
            container.write(b"later %d\n" % number)
        rig.settle(1)
    if not busy:
        rig.shell.drop(HOST.name)
        container.write(b"later\n")
        rig.settle()
    assert rig.kinds()[-1] == "paused"
    assert str(rig.path) in str(rig.events[-1])
    before = rig.landed()
    container.write(b"last words\n")
    rig.drain()
    assert rig.kinds()[-1] == "not-drained"
    assert rig.landed() == before


@pytest.mark.parametrize("spoil", [delete, empty])
def test_what_a_spoiled_file_has_lost_lands_again_by_the_next_iris(
    rig: CaptureRig, spoil: Callable[[Path], None]
) -> None:
    """Where nothing is left of it, that is all that the engine still holds."""
    container = rig.engine.create(NAME)
    container.write(b"one\n")
    rig.settle()
    spoil(rig.path)
    rig.settle(10)
    rig.kill()
    container.write(b"two\n")
    rig.begin()
    rig.settle()
    assert rig.landed() == [entry.landed for entry in container.written]
    assert "gap" not in rig.kinds()


def test_a_landed_file_that_is_put_back_is_gone_on_with(rig: CaptureRig) -> None:
    """It was renamed by mistake, say: nothing is lost or doubled meanwhile."""
    container = rig.engine.create(NAME)
    container.write(b"one\n")
    rig.settle()
    move(rig.path)
    container.write(b"two\n")
    rig.settle(10)
    container.write(b"three\n")
    rig.settle()
    rig.path.with_name("old.txt").rename(rig.path)
    rig.settle()
    assert rig.kinds()[-2:] == ["paused", "resumed"]
    assert rig.landed() == [entry.landed for entry in container.written]
    rig.drain()
    assert rig.kinds()[-1] == "drained"


def test_timers_that_were_overtaken_are_forgotten(rig: CaptureRig) -> None:
    """A log that may rotate is looked at soon after each line, before the timer of a long wait: none of those timers outlives its time."""
    container = rig.engine.create(NAME, can_rotate=True)
    rig.settle()
    references = sys.getrefcount(rig.slot)
    for _ in range(30):
        container.write(b"line\n")
        rig.settle(20)
    rig.settle(600)  # the longest wait for a line, and as long again
    assert len(rig.landed()) == 30
    assert sys.getrefcount(rig.slot) <= references + 2


def test_a_finished_source_is_not_remembered(rig: CaptureRig) -> None:
    """Once its last timer's time has come, nothing holds what has ended: of a cluster with many preemptions it would be more and more."""
    rig.engine.create(NAME).write(b"line\n")
    rig.settle()
    rig.drain()
    slot = weakref.ref(rig.slot)
    rig.settle(600)
    del rig.slot
    rig.shell.started.clear()  # the fake's own memory
    gc.collect()
    assert slot() is None


class Other:
    """A second source of the same pump, which has nothing to do with what befalls the first."""

    def __init__(self, rig: CaptureRig) -> None:
        self.container = rig.engine.create("other")
        self.path = rig.path.with_name("other.txt")
        self.slot = rig.pump.add("other", HOST, "other", LandedFile(self.path), use_sudo=True)

    def goes_on(self, rig: CaptureRig) -> bool:
        """Whether it lands what comes."""
        self.container.write(b"more\n")
        rig.settle(10)
        landed = self.path.read_bytes().splitlines(keepends=True)
        return landed == [entry.landed for entry in self.container.written]


def fails(*_: object) -> NoReturn:
    raise ZeroDivisionError("a fault")


class Faulty:
    """A source that fails when it is told something, or to finish."""

    finished, connected = False, True

    def __init__(self, where: str) -> None:
        self._where = where
        self.wake_at = 0.0 if where == "timer" else None

    def begin(self, now: float) -> list[Action]:
        raise NotImplementedError

    def receive(self, event: Event, now: float) -> list[Action]:
        del event, now
        return [] if self._where == "drain" else fails()

    def drain(self, now: float) -> list[Action]:
        del now
        return fails() if self._where == "drain" else []


class Unclosable(ProcessInbox):
    """One whose process cannot be given up."""

    __slots__ = ()

    def close(self) -> None:
        super().close()
        fails()


@pytest.mark.parametrize("where", ["receive", "drain", "timer", "landing", "file", "inbox"])
def test_a_fault_in_one_source_costs_that_source_only(
    rig: CaptureRig, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever fails that is not foreseen: it is told, with all that a report of it needs, and the file is let go."""
    container = rig.engine.create(NAME)
    other = Other(rig)
    rig.settle()
    match where:
        case "receive" | "timer" | "drain":
            rig.slot.machine = Faulty(where)
            rig.settle(600 if where == "timer" else 1)
            assert rig.slot.done is (where == "timer")
        case "landing":
            monkeypatch.setattr(rig.file, "append", fails)
        case "file":
            rig.file.close()
            monkeypatch.setattr(rig.file, "close", fails)
        case "inbox":
            rig.slot.inbox.close()
            rig.slot.inbox = Unclosable(lambda: None)
    container.write(b"line\n")
    rig.settle(10)
    rig.pump.drain([rig.slot], 5)
    rig.settle(10)
    assert rig.slot.done
    assert rig.slot not in rig.pump.slots
    told = [event for event in rig.events if event.kind.value == "not-drained"][-1]
    assert (told.source, "ZeroDivisionError" in str(told)) == ("controller-logs", True)
    assert rig.records()[-1]["event"] == "not-drained"
    assert ("iris.logs", "WARNING") in [(one.name, one.levelname) for one in caplog.records if one.exc_info]
    LandedFile(rig.path).close()
    assert other.goes_on(rig)


def test_a_fault_as_a_source_begins_costs_that_source_only(rig: CaptureRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who begins it gets one that is over."""
    other = Other(rig)
    with monkeypatch.context() as patch:
        patch.setattr(LogSource, "begin", fails)
        slot = rig.pump.add("third", HOST, "third", LandedFile(rig.path.with_name("third.txt")), use_sudo=True)
    assert slot.done
    assert isinstance(slot.fault, ZeroDivisionError)
    assert other.goes_on(rig)


def test_a_file_whose_closing_fails_is_told(rig: CaptureRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was called drained before, but its last lines may not be on the disk."""
    rig.engine.create(NAME).write(b"line\n")
    other = Other(rig)
    rig.settle()
    close = os.close
    [bad] = [int(fd.name) for fd in Path("/proc/self/fd").iterdir() if fd.exists() and fd.readlink() == rig.path]

    def quota(fd: int) -> None:
        close(fd)
        if fd == bad:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")

    with monkeypatch.context() as patch:
        patch.setattr(os, "close", quota)
        rig.pump.drain([rig.slot], 5)
        rig.settle()
    assert rig.slot.done
    assert rig.kinds()[-2:] == ["drained", "not-drained"]
    assert "Disk quota exceeded" in str(rig.events[-1])
    assert other.goes_on(rig)
