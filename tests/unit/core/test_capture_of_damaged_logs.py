"""The capture of a log that the engine breaks off with an error: at an entry that is damaged, by a crash of its host most often."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from iris_adapters.fakes.docker_container import LogEntry
from tests.unit.core.capture_rig import HOST, NAME, CaptureRig

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from iris_adapters.fakes import FakeContainer

PATIENCE = 400.0  # seconds after which what is damaged is left out, at the latest


@pytest.fixture
def rig(tmp_path: Path) -> CaptureRig:
    rig = CaptureRig(tmp_path)
    rig.begin()
    return rig


def write(container: FakeContainer, count: int, what: bytes = b"line") -> None:
    for number in range(count):
        container.write(b"%s %d\n" % (what, number))


def damage(container: FakeContainer) -> LogEntry:
    return container.write(b"damaged\n", damaged=True)


def landed_of(container: FakeContainer) -> list[bytes]:
    return [entry.landed for entry in container.written if not container.is_damaged(entry)]


def come_back(rig: CaptureRig, container: FakeContainer, *, before: int, after: int) -> LogEntry:
    """A host that was away, and whose log holds so many lines before a damaged one, and after it."""
    rig.shell.break_host(HOST.name)
    rig.shell.drop(HOST.name)
    rig.settle(1)
    write(container, before, b"before")
    damaged = damage(container)
    write(container, after, b"after")
    rig.shell.heal_host(HOST.name)
    return damaged


@pytest.mark.parametrize("can_rotate", [False, True])
@pytest.mark.parametrize("piece_bytes", [0, 1000])
def test_what_is_before_the_damage_lands_and_is_told_once(
    rig: CaptureRig, piece_bytes: int, *, can_rotate: bool
) -> None:
    """Each line before it, although the same answer tells of the error; and the engine is not asked in a hot loop."""
    rig.engine.piece_bytes = piece_bytes
    container = rig.engine.create(NAME, can_rotate=can_rotate)
    write(container, 100)
    rig.settle(5)
    come_back(rig, container, before=600, after=600)
    rig.engine.requests.clear()
    rig.settle(100)
    assert rig.landed() == [entry.landed for entry in container.written[:700]]
    assert rig.kinds()[-2:] == ["connected", "unreadable"]
    assert "Error grabbing logs" in str(rig.events[-1])
    assert len(rig.engine.requests) < 60


@pytest.mark.parametrize("can_rotate", [False, True])
@pytest.mark.parametrize("after", [1, 64, 600])
def test_what_lasts_is_left_out_and_told_as_a_gap(rig: CaptureRig, after: int, *, can_rotate: bool) -> None:
    """After some minutes. What follows the damage lands, all of it, and what comes then as it comes."""
    container = rig.engine.create(NAME, can_rotate=can_rotate)
    write(container, 100)
    rig.settle(5)
    come_back(rig, container, before=600, after=after)
    rig.settle(PATIENCE)
    assert rig.landed() == landed_of(container)
    [gap] = [record for record in rig.records() if record["event"] == "gap"]
    assert (gap["after"], gap["before"]) == (container.written[699].timestamp, container.written[701].timestamp)
    assert "Error grabbing logs" in gap["reason"]
    for count in (1, 10, 70, 500, 1):
        write(container, count, b"later")
        rig.settle(7 if after > 1 else 31)
        assert rig.landed() == landed_of(container)
    # One line alone is not certain to be found again: that is told with an overlap.
    assert len([record for record in rig.records() if record["event"] == "gap" and "overlap" not in record]) == 1
    assert rig.kinds().count("unreadable") == 1
    rig.drain()
    assert rig.kinds()[-1] == "drained"


@pytest.mark.parametrize("can_rotate", [False, True])
def test_what_passes_costs_nothing(rig: CaptureRig, *, can_rotate: bool) -> None:
    """An engine that is ill for two minutes, and fails wherever it is asked, has nothing left out."""
    container = rig.engine.create(NAME, can_rotate=can_rotate)
    write(container, 100)
    rig.settle(5)
    damaged = come_back(rig, container, before=100, after=100)
    rig.settle(120)
    for _ in range(2):  # it is well again, and ill again, at the same place and others
        container.damaged.clear()
        write(container, 10)
        rig.settle(31)
        container.damaged.append(damaged)
        container.damaged.append(container.written[-1])
        rig.shell.drop(HOST.name)
        rig.settle(60)
    container.damaged.clear()
    rig.settle(31)
    assert rig.landed() == [entry.landed for entry in container.written]
    assert "gap" not in rig.kinds()


@pytest.mark.parametrize("can_rotate", [False, True])
@pytest.mark.parametrize("depth", [1, 60, 1000])
def test_damage_that_lies_behind_is_nothing_to_wait_for(rig: CaptureRig, depth: int, *, can_rotate: bool) -> None:
    """The last landed line is found in the end that comes whole: also by a new iris, and after many lines."""
    container = rig.engine.create(NAME, can_rotate=can_rotate)
    write(container, 100)
    container.damaged = [container.written[50]]
    rig.settle(PATIENCE)
    write(container, depth)
    rig.settle(10)
    for _ in range(2):
        rig.kill()
        write(container, 400)
        rig.begin()
        rig.settle(5)
        assert rig.landed() == landed_of(container)
    assert rig.kinds().count("gap") == 1


def test_nothing_landed_and_the_first_entry_damaged(rig: CaptureRig) -> None:
    """What is left out then lies before the first landed line, and that is what is told."""
    container = rig.engine.create(NAME)
    damage(container)
    write(container, 200)
    rig.settle(PATIENCE)
    assert rig.landed() == landed_of(container)
    assert "gap" not in rig.kinds()
    [head] = [record for record in rig.records() if record["event"] == "unverified-head"]
    assert (head["before"], head["offset"]) == (container.written[1].timestamp, 0)


def test_a_log_that_ends_in_damage_is_not_called_drained(rig: CaptureRig) -> None:
    """Until its time is over a drain tries; nobody says that all has landed."""
    container = rig.engine.create(NAME)
    write(container, 100)
    damage(container)
    container.stop()
    rig.settle(PATIENCE)
    assert rig.landed() == landed_of(container)
    assert "exited" not in rig.kinds()
    begun = rig.clock.monotonic()
    rig.pump.drain(rig.pump.slots, 10)
    rig.settle(9)
    assert not rig.slot.done
    rig.settle(1)
    assert rig.kinds()[-1] == "not-drained"
    assert rig.clock.monotonic() - begun <= 10


def test_an_ended_container_is_landed_past_its_damage_to_its_end(rig: CaptureRig) -> None:
    """And its end is told then."""
    container = rig.engine.create(NAME)
    write(container, 100)
    damage(container)
    write(container, 100)
    container.stop()
    rig.settle(PATIENCE)
    assert rig.landed() == landed_of(container)
    assert rig.kinds()[-2:] == ["gap", "exited"]


def test_several_places_are_left_out_as_one(rig: CaptureRig) -> None:
    """What lies between them is in the gap: the end that comes whole is what is landed."""
    container = rig.engine.create(NAME)
    write(container, 100)
    rig.settle()
    for _ in range(3):
        damage(container)
        write(container, 100)
    rig.settle(PATIENCE)
    assert rig.landed() == [entry.landed for entry in container.written[:100] + container.written[-100:]]
    assert rig.kinds().count("gap") == 1


def test_a_progress_bar_behind_damage_is_doubled_nowhere(rig: CaptureRig) -> None:
    """Where all lines look alike, what was landed after a damaged place is told with a gap."""
    container = rig.engine.create(NAME)
    write(container, 100)
    rig.settle()
    come_back(rig, container, before=10, after=0)
    for _ in range(40):
        container.write(b".", timestamp="2026-01-01T10:00:00.5Z")
    rig.settle(PATIENCE)
    for _ in range(3):
        for _ in range(40):
            container.write(b".", timestamp="2026-01-01T10:00:00.5Z")
        rig.settle(31)
        rig.shell.drop(HOST.name)
    container.write(b"done\n")
    rig.settle(31)
    assert rig.landed() == landed_of(container)


def test_an_engine_whose_follows_break_off_is_asked_seldom(rig: CaptureRig, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that it has is landed all the same."""
    container = rig.engine.create(NAME)
    write(container, 1000)
    broken = LogEntry("stdout", "2026-01-01T00:00:00Z", b"")
    container.damaged = [broken]

    def break_off(follower: Callable[[LogEntry | None], None]) -> Callable[[], None]:
        follower(broken)
        return lambda: None

    monkeypatch.setattr(container, "follow", break_off)
    rig.settle(300)
    container.write(b"late\n")
    rig.settle(300)
    assert rig.landed() == landed_of(container)
    assert len(rig.engine.requests) < 300
