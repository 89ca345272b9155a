"""A pump with one source, a fake engine behind a fake shell, and a landed file on disk: driven by hand, in fake time."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING, Any

from iris_adapters.fakes import FakeClock, FakeDockerEngine, FakeShell, make_host
from iris_core.errors import LogFileError
from iris_core.log_file import LandedFile
from iris_core.log_paths import events_path
from iris_core.log_pump import LogPump

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from iris_core.log_events import LogEvent
    from iris_core.log_pump import CaptureSlot

NAME = "iris-controller"
HOST = make_host("iris-controller-iris")


class DiskFile(LandedFile):
    """A landed file whose disk can be full: for the lines and the events, or for new events only."""

    full = False
    events_full = False

    def append(self, data: bytes) -> None:
        self._check(self.full)
        super().append(data)

    def note(self, event: Mapping[str, object]) -> None:
        self._check(self.full or self.events_full)
        super().note(event)

    def _check(self, full: bool) -> None:  # noqa: FBT001 - the flag's own value
        if full:
            raise LogFileError("the disk is full, as scripted", path=self.path)


class CaptureRig:
    """The capture of one container's log; `kill` and `begin` are what a `kill -9` of iris and its restart leave and find."""

    def __init__(self, directory: Path) -> None:
        self.engine = FakeDockerEngine()
        self.shell = FakeShell(starts=[self.engine.script(), *self.engine.file_scripts()])
        self.clock = FakeClock()
        self.path = directory / "controller-logs.txt"
        self.events: list[LogEvent] = []
        self.pump: LogPump
        self.slot: CaptureSlot
        self.file: DiskFile

    def begin(self) -> None:
        self.pump = LogPump(self.shell, self.clock, self.events.append, jitter=lambda: 0.5)
        self.file = DiskFile(self.path)
        self.slot = self.pump.add("controller-logs", HOST, NAME, self.file, use_sudo=True)

    def kill(self, *, torn_bytes: int = 0) -> None:
        """End at once, and leave so many bytes of a landed line that was being written (none is before its life is on record)."""
        for process in self.shell.running():
            process.close()
        self.file.close()
        if torn_bytes and self.file.life:
            with self.path.open("ab") as file:
                file.write(b"2026-01-01T00:00:00.000Z stdout F torn"[:torn_bytes])

    def settle(self, seconds: float = 3.0) -> None:
        """Let everything happen that happens within so many seconds."""
        until = self.clock.monotonic() + seconds
        for _ in range(20_000):
            wait = self.pump.step()
            now = self.clock.monotonic()
            if wait == 0:
                continue
            if wait is None or now + wait > until:
                self.clock.advance(until - now)
                return
            self.clock.advance(wait)
        raise AssertionError("the pump does not come to rest")

    def drain(self, seconds: float = 10.0) -> None:
        self.pump.drain(self.pump.slots, seconds)
        self.settle(seconds + 1)

    def landed(self) -> list[bytes]:
        return self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []

    def records(self) -> list[dict[str, Any]]:
        path = events_path(self.path)
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def kinds(self) -> list[str]:
        return [event.kind.value for event in self.events]

    def lives(self) -> list[tuple[str, list[list[bytes]]]]:
        """For each container in the landed file: its id, and its lines in pieces as the gaps part them."""
        data = self.path.read_bytes()
        marks: list[tuple[str, int]] = []
        for record in self.records():
            if "from" in record and (not marks or marks[-1][0] != record["container"]):
                marks.append((record["container"], record["from"]))
        gaps = sorted({record["offset"] for record in self.records() if record["event"] == "gap"})
        lives = []
        for index, (container, begin) in enumerate(marks):
            end = marks[index + 1][1] if index + 1 < len(marks) else len(data)
            edges = [begin, *(gap for gap in gaps if begin < gap < end), end]
            pieces = [data[a:b].split(b"\n")[:-1] for a, b in itertools.pairwise(edges)]
            lives.append((container, [[line + b"\n" for line in piece] for piece in pieces]))
        return lives
