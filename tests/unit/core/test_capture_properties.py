"""Random histories of containers, connections and iris itself: what has landed is what was written, or the hole is told."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from iris_core import json_file_reading
from iris_core.log_cursor import CONTEXT_LINES
from tests.support.log_files import make_plenty
from tests.unit.core.capture_rig import HOST, NAME, CaptureRig

if TYPE_CHECKING:
    from iris_adapters.fakes import FakeContainer

# `just properties` raises it; the gate's share of the unit tests' ten seconds is small.
HISTORIES = int(os.environ.get("IRIS_HISTORIES", "12"))

SETTINGS = settings(
    max_examples=HISTORIES,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class History(RuleBasedStateMachine):
    """What can happen to any log; `ends` says what must be true at the end."""

    can_rotate = False
    by_file = False  # whether a few bytes are so many that the log's file is read

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="iris-history-"))
        self.rig = CaptureRig(self.directory)
        self.lives: list[FakeContainer] = []
        self.written = 0
        self.unfinished: dict[tuple[str, str], str] = {}
        self.patch = pytest.MonkeyPatch()
        if self.by_file:
            make_plenty(self.patch, 400)
            self.patch.setattr(json_file_reading, "_OVERLAP_BYTES", 5000)
            self.patch.setattr(json_file_reading, "_ENDS", (500, 6000))
            self.patch.setattr(json_file_reading, "_REFUSED_SECONDS", 0.0)

    @initialize()
    def starts(self) -> None:
        self.lives.append(self.rig.engine.create(NAME, can_rotate=self.can_rotate))
        self.rig.begin()

    @property
    def container(self) -> FakeContainer:
        return self.lives[-1]

    @property
    def is_there(self) -> bool:
        return bool(self.lives) and self.container.name == NAME

    @rule(
        count=st.sampled_from([1, 2, 7, 40, 300]),
        stream=st.sampled_from(["stdout", "stderr"]),
        end=st.sampled_from([b"\n", b"", b"\r\n"]),
    )
    def writes(self, count: int, stream: str, end: bytes) -> None:
        if self.is_there and self.container.running:
            for _ in range(count):
                self.written += 1
                line = (self.container.id, stream)
                entry = self.container.write(
                    b"%d" % self.written + end, stream=stream, timestamp=self.unfinished.pop(line, None)
                )
                if end == b"":
                    self.unfinished[line] = entry.timestamp  # all parts of a line bear its first part's

    @rule(seconds=st.sampled_from([0.0, 0.1, 1.0, 4.0, 30.0]))
    def time_passes(self, seconds: float) -> None:
        self.rig.settle(seconds)

    @rule()
    def connection_drops(self) -> None:
        self.rig.shell.drop(HOST.name)

    @rule(size=st.integers(1, 40_000), status=st.sampled_from([None, 0]))
    def connections_break_after(self, size: int, status: int | None) -> None:
        self.rig.engine.break_after_bytes, self.rig.engine.break_status = size, status

    @rule()
    def connections_hold(self) -> None:
        self.rig.engine.break_after_bytes = None

    @rule(size=st.sampled_from([0, 0, 37, 1000]))
    def answers_come_in_pieces(self, size: int) -> None:
        self.rig.engine.piece_bytes = size

    @rule(reachable=st.booleans())
    def engine_changes(self, reachable: bool) -> None:  # noqa: FBT001 - hypothesis gives it by name
        self.rig.engine.reachable = reachable
        if not reachable:
            self.rig.shell.drop(HOST.name)

    @rule()
    def host_vanishes(self) -> None:
        self.rig.shell.break_host(HOST.name)
        self.rig.shell.drop(HOST.name)

    @rule()
    def host_comes_back(self) -> None:
        self.rig.shell.heal_host(HOST.name)

    @rule()
    def follow_ends_without_cause(self) -> None:
        if self.is_there:
            self.container.end_follows()

    @rule()
    def container_stops(self) -> None:
        if self.is_there:
            self.container.stop(exit_code=1)

    @rule()
    def container_starts(self) -> None:
        if self.is_there and not self.container.running:
            self.container.start()

    @rule(torn=st.integers(0, 38))
    def iris_is_killed(self, torn: int) -> None:
        self.rig.kill(torn_bytes=torn)
        self.rig.begin()

    @rule()
    def disk_fills(self) -> None:
        self.rig.file.full = True

    @rule()
    def disk_has_room(self) -> None:
        self.rig.file.full = False

    @rule()
    def container_is_recreated(self) -> None:
        """Its whole log is read first, as `docker rm` of a container whose log was not is a told loss (see the rotating history)."""
        self.heal()
        self.container.stop()
        self.rig.settle(120)
        self.rig.engine.remove(self.container)
        self.lives.append(self.rig.engine.create(NAME, can_rotate=self.can_rotate))

    def heal(self) -> None:
        self.rig.engine.reachable = True
        self.rig.engine.break_after_bytes = None
        self.rig.shell.heal_host(HOST.name)
        self.rig.file.full = False

    def teardown(self) -> None:
        try:
            if self.lives:
                self.heal()
                self.rig.settle(120)
                self.rig.drain()
                assert self.rig.slot.done
                assert self.rig.kinds()[-1] == "drained"
                self.ends()
        finally:
            self.patch.undo()
            if self.lives:
                self.rig.file.close()
            shutil.rmtree(self.directory)

    def ends(self) -> None:
        landed = [(container, pieces) for container, pieces in self.rig.lives()]
        assert landed == [(life.id, [[entry.landed for entry in life.written]]) for life in self.lives]
        assert "gap" not in self.rig.kinds()
        assert "unverified-tail" not in self.rig.kinds()


class NastyLines(History):
    """Identical lines, equal and backward timestamps, progress bars: nothing in a log need be unique."""

    @rule(
        count=st.sampled_from([1, 3, 33, 300, *([1000] if HISTORIES > 100 else [])]),
        payload=st.sampled_from([b"\n", b"x\n", b".", b"\0\xff\r"]),
        second=st.integers(0, 2),
        streams=st.sampled_from([["stdout"], ["stderr"], ["stdout", "stderr"], ["stdout", "stdout", "stderr"]]),
    )
    def writes_the_same_again(self, count: int, payload: bytes, second: int, streams: list[str]) -> None:
        if self.is_there and self.container.running:
            for _ in range(count):
                for stream in streams:
                    self.container.write(payload, stream=stream, timestamp=f"2026-01-01T00:00:0{second}.500000000Z")


class ByFile(History):
    """What is read of the log's file is landed once, too, whatever goes wrong with it."""

    by_file = True

    @rule(complaint=st.sampled_from([None, "Permission denied"]))
    def host_gives_files_or_not(self, complaint: str | None) -> None:
        self.rig.engine.refuse_files = complaint

    @rule(torn=st.integers(0, 60))
    def the_engine_is_writing(self, torn: int) -> None:
        self.rig.engine.torn_bytes = torn


class NastyByFile(ByFile, NastyLines):
    """The same with lines that need not be unique."""


class Rotating(History):
    """A log that rotates: every hole is told, none is invented, and between the holes nothing is lost or doubled."""

    can_rotate = True

    def __init__(self) -> None:
        super().__init__()
        self.held_from: set[tuple[str, int]] = set()  # with which line of which container the engine's log ever began

    @rule(keep=st.sampled_from([0, 1, 5, 40, 400]))
    def rotates(self, keep: int) -> None:
        if self.is_there:
            self.container.rotate(keep, followers_miss=5)
            self.held_from.add((self.container.id, self.container.first_held))

    def began_in_a_line(self, life: FakeContainer, end: int) -> bool:
        """Whether the engine's log ever began with so few parts of an unfinished line before this place that they may have been others."""
        return any(
            end - CONTEXT_LINES < begin < end
            and not any(entry.payload.endswith(b"\n") for entry in life.written[begin:end])
            for container, begin in self.held_from
            if container == life.id
        )

    def ends(self) -> None:
        lives = self.rig.lives()
        assert [container for container, _ in lives] == [life.id for life in self.lives]
        for life, (_, pieces) in zip(self.lives, lives, strict=True):
            place = {entry.landed: index for index, entry in enumerate(life.written)}
            expected = None
            for piece in pieces:
                if not piece:
                    continue
                first = place[piece[0]]
                assert piece == [entry.landed for entry in life.written[first : first + len(piece)]]
                assert (
                    expected is None
                    or first > expected
                    # The last landed line had gone and no other: nobody can know that, so it is told.
                    or (first == expected and (life.id, first) in self.held_from)
                    or (first == expected and self.began_in_a_line(life, expected))
                ), "a gap was told where nothing is missing, or lines are doubled"
                expected = first + len(piece)
            assert (expected or 0) == len(life.written) or not life.held


class Damaged(History):
    """A log that the engine breaks off here and there: what is left out is told, and nothing is doubled or missing at its end."""

    @rule(back=st.sampled_from([1, 2, 30, 100, 700]))
    def an_entry_is_damaged(self, back: int) -> None:
        if self.is_there and len(self.container.written) >= back:
            self.container.damaged.append(self.container.written[-back])

    @rule()
    def damage_was_none(self) -> None:
        if self.is_there:
            self.container.damaged.clear()

    @rule()
    def minutes_pass(self) -> None:
        self.rig.settle(400)

    def heal(self) -> None:
        super().heal()
        # What is damaged at a log's end lasts as long as nothing follows it.
        if self.container.written:
            last = self.container.written[-1]
            self.container.damaged = [entry for entry in self.container.damaged if entry is not last]
        self.rig.settle(500)

    def ends(self) -> None:
        lives = self.rig.lives()
        assert [container for container, _ in lives] == [life.id for life in self.lives]
        for life, (_, pieces) in zip(self.lives, lives, strict=True):
            place = {entry.landed: index for index, entry in enumerate(life.written)}
            expected = 0
            for piece in pieces:
                if not piece:
                    continue
                first = place[piece[0]]
                assert piece == [entry.landed for entry in life.written[first : first + len(piece)]]
                assert first >= expected
                expected = first + len(piece)
            assert expected == len(life.written)
            if "gap" not in self.rig.kinds() and "unverified-head" not in self.rig.kinds():
                assert sum(map(len, pieces)) == len(life.written)


TestHistory = History.TestCase
TestNastyLines = NastyLines.TestCase
TestRotating = Rotating.TestCase
TestByFile = ByFile.TestCase
TestNastyByFile = NastyByFile.TestCase
TestDamaged = Damaged.TestCase
for _case in (TestHistory, TestNastyLines, TestRotating, TestByFile, TestNastyByFile):
    _case.settings = SETTINGS
TestDamaged.settings = settings(SETTINGS, max_examples=max(3, HISTORIES // 4))  # each takes hours of its time
del _case  # else it is collected as a test once more
