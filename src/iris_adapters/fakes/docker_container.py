"""A container in memory: its state and its log, which a test writes, rotates and ends."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_NEVER = "0001-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One entry of a container's log.

    Attributes:
        stream: `stdout` or `stderr`.
        timestamp: as the engine writes it, RFC 3339 with nanoseconds.
        payload: what the container wrote: with its newline, or without one for a part of a line.
    """

    stream: str
    timestamp: str
    payload: bytes

    @property
    def landed(self) -> bytes:
        """The line that iris lands of it."""
        full = self.payload.endswith(b"\n")
        return b"%s %s %s %s" % (
            self.timestamp.encode(),
            self.stream.encode(),
            b"F" if full else b"P",
            self.payload if full else self.payload + b"\n",
        )


class FakeContainer:
    """A container and its log. Made by `FakeDockerEngine.create`.

    Attributes:
        id: its id.
        name: its name.
        running: whether it runs.
        started_at: the time of its last start, as text.
        finished_at: the time of its last end, as text.
        exit_code: of its last end.
        oom_killed: whether it was ended for want of memory.
        tty: whether it has a terminal.
        can_rotate: whether its log has a `max-size`.
        labels: its labels.
        log_options: those of its log driver, json-file.
        written: every entry that it ever wrote.
        first_held: index of the first of them that the engine still holds.
        starts: how often it was started.
        lives: its starts and ends, as (`start` or `die`, its time as text), in their order.
        damaged: those entries that cannot be read: the engine breaks off the log there.
    """

    def __init__(self, container_id: str, name: str, *, tty: bool, can_rotate: bool, labels: dict[str, str]) -> None:
        self.id = container_id
        self.name = name
        self.running = True
        self.started_at = "2026-01-01T00:00:00.000000001Z"
        self.finished_at = _NEVER
        self.exit_code = 0
        self.oom_killed = False
        self.tty = tty
        self.can_rotate = can_rotate
        self.labels = labels
        self.log_options = {"max-size": "1m", "max-file": "3"} if can_rotate else {}
        self.written: list[LogEntry] = []
        self.first_held = 0
        self.starts = 1
        self.lives = [("start", self.started_at)]
        self.damaged: list[LogEntry] = []
        self._followers: dict[Callable[[LogEntry | None], None], None] = {}  # in order; there may be thousands

    @property
    def held(self) -> list[LogEntry]:
        """The entries that the engine holds."""
        return self.written[self.first_held :]

    def write(
        self, payload: bytes, *, stream: str = "stdout", timestamp: str | None = None, damaged: bool = False
    ) -> LogEntry:
        """Write one entry: a line with its newline, or a part of one. The default timestamps are all different."""
        number = len(self.written) + 1
        milliseconds, seconds, minutes, hours = number % 1000, number // 1000, number // 60_000, number // 3_600_000
        entry = LogEntry(
            stream,
            timestamp or f"2026-01-01T{hours % 24:02d}:{minutes % 60:02d}:{seconds % 60:02d}.{milliseconds:03d}000000Z",
            payload.decode(errors="replace").encode(),  # as the driver json-file does
        )
        self.written.append(entry)
        if damaged:
            self.damaged.append(entry)
        for follower in list(self._followers):
            follower(entry)
        return entry

    @property
    def json_file_path(self) -> str:
        """Where the engine keeps its log."""
        return f"/var/lib/docker/containers/{self.id}/{self.id}-json.log"

    @property
    def json_file(self) -> bytes:
        """What is in that file."""
        lines = []
        for entry in self.held:
            if self.is_damaged(entry):
                lines.append("\0\0\n")
                continue
            seconds, _, fraction = entry.timestamp.removesuffix("Z").partition(".")
            time = f"{seconds}.{fraction}".rstrip("0").removesuffix(".") if fraction else seconds
            value = {"log": entry.payload.decode(), "stream": entry.stream, "time": f"{time}Z"}
            lines.append(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")
        return "".join(lines).encode()

    def is_damaged(self, entry: LogEntry) -> bool:
        """Whether it is one of `damaged`; others may look the same."""
        return any(entry is one for one in self.damaged)

    def rotate(self, keep: int, *, followers_miss: int = 0) -> None:
        """Rotate away all but the last `keep` entries. A real follow loses lines then: so many of the next ones are missed."""
        self.first_held = max(self.first_held, len(self.written) - keep)
        if followers_miss:
            followers, self._followers = self._followers, {}
            resume_at = len(self.written) + followers_miss

            def resume(entry: LogEntry | None) -> None:
                if entry is None or len(self.written) > resume_at:
                    for follower in followers:
                        follower(entry)

            self._followers[resume] = None

    def stop(self, exit_code: int = 0, *, oom_killed: bool = False, finished_at: str | None = None) -> None:
        """End it, at the time that its host's clock shows then. Those who follow its log see the end."""
        was_running = self.running
        self.running, self.exit_code, self.oom_killed = False, exit_code, oom_killed
        self.finished_at = finished_at or f"2026-01-01T00:00:00.{2 * self.starts:09d}Z"
        if was_running:
            self.lives.append(("die", self.finished_at))
        self.end_follows()

    def start(self) -> None:
        """Start it again: the same container, whose log goes on."""
        self.starts += 1
        self.running = True
        self.started_at = f"2026-01-01T00:00:00.{2 * self.starts - 1:09d}Z"
        self.lives.append(("start", self.started_at))

    def end_follows(self) -> None:
        """End every follow of its log, as a real engine sometimes does without cause."""
        followers, self._followers = self._followers, {}
        for follower in followers:
            follower(None)

    def follow(self, follower: Callable[[LogEntry | None], None]) -> Callable[[], None]:
        """Have `follower` told of each new entry, and of the end (None). Returns what calls it off."""
        self._followers[follower] = None

        def call_off() -> None:
            self._followers.pop(follower, None)

        return call_off

    def inspect(self) -> dict[str, object]:
        """The engine's answer to inspect, as far as iris reads it."""
        return {
            "Id": self.id,
            "Name": f"/{self.name}",
            "LogPath": self.json_file_path,
            "State": {
                "Status": "running" if self.running else "exited",
                "Running": self.running,
                "StartedAt": self.started_at,
                "FinishedAt": self.finished_at,
                "ExitCode": self.exit_code,
                "OOMKilled": self.oom_killed,
            },
            "Config": {"Tty": self.tty, "Labels": self.labels},
            "HostConfig": {"LogConfig": {"Type": "json-file", "Config": self.log_options}},
        }
