"""The record beside a landed file: what happened, one JSON object a line, and whose the landed lines are.

Each event has `at`, `event` and `offset` (the size of the landed file when it happened). One with `container` and `from` says from which
offset on the landed lines are those of which container; it is written before the first of them. Where that container has had the name
before, `continues` says where its earlier lines are. Everything else is for people (docs/logs.md lists the events).
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from iris_core.log_events import LogEventKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_BLOCK_BYTES: Final = 64 * 1024
_LONGEST_REASON: Final = 4000  # characters: an engine's words, or another program's, which may be of any length
_NEW_FILE: Final = os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW

Stretch: TypeAlias = tuple[int, int]
"""A part of a landed file: the offset where it begins, and the one where it ends."""


@dataclass(frozen=True, slots=True)
class Life:
    """Which container the end of the file belongs to.

    Attributes:
        container_id: the engine's id of it.
        offset: where in the file its lines begin, in bytes.
        started_at: the engine's text for its start, when last seen.
        instance_id: Google's id of the host's life it ran on.
        complete: whether it has ended and all of its log has landed.
        finished_at: the engine's text for that end.
        earlier: where the lines are, oldest first, that landed of it before another container had its name for a while, as far as those
            from `offset` on follow them without a gap.
    """

    container_id: str
    offset: int
    started_at: str
    instance_id: str
    complete: bool = False
    finished_at: str = ""
    earlier: tuple[Stretch, ...] = ()

    def as_record(self) -> dict[str, object]:
        """What an event says that begins it, or goes on with it."""
        continues = {"continues": [list(stretch) for stretch in self.earlier]} if self.earlier else {}
        return {
            "container": self.container_id,
            "from": self.offset,
            **continues,
            "started_at": self.started_at,
            "instance": self.instance_id,
        }

    def contiguous(self, gaps: tuple[int, int], end: int) -> tuple[Stretch, ...]:
        """Where its lines are that follow each other in the engine's log as they do here, oldest first.

        Args:
            gaps: the offsets of the last gap that was told, and of the one before.
            end: where its lines end.
        """
        last, before = gaps
        gap = before if last >= end else last  # one that nothing has landed after parts nothing yet
        return ((gap, end),) if gap >= self.offset else (*self.earlier, (self.offset, end))


@dataclass(frozen=True, slots=True)
class RecordedLife:
    """What the record says of a life.

    Attributes:
        life: that.
        gaps: the offsets of the last gap that was told in it, and of the one before; 0 where there was none.
        end: where its lines end.
        is_cut: its lines begin earlier than is on record, for the landed file has lost its end since (in a power cut).
    """

    life: Life
    gaps: tuple[int, int]
    end: int
    is_cut: bool


class EventRecord:
    """`NAME.events.jsonl`, for the one process that writes it. Every method raises the OSError that it meets.

    Args:
        path: of the file. It is made with the first event (0600).
    """

    __slots__ = ("_path", "_torn_at")

    def __init__(self, path: str) -> None:
        self._path = path
        self._torn_at: int | None = None  # where half an event begins that could not be cut off

    def append(self, *events: Mapping[str, object], first: Sequence[Mapping[str, object]] = ()) -> None:
        """Append events: all of them, whole, or none; `first` goes before them where they begin the file."""
        data = b"".join(map(_line_of, events))
        fd = os.open(self._path, os.O_WRONLY | _NEW_FILE, 0o600)
        try:
            end = os.fstat(fd).st_size
            if self._torn_at is not None:
                end = min(end, self._torn_at)
                os.ftruncate(fd, end)
            if not end:
                data = b"".join(map(_line_of, first)) + data
            self._torn_at = end
            try:
                _write_whole(fd, data)
            except OSError:
                os.ftruncate(fd, end)
                self._torn_at = None
                raise
            self._torn_at = None
        finally:
            with suppress(OSError):  # it has been written: told as a failure, it would be written again
                os.close(fd)

    def make_durable(self) -> None:
        """Have what was appended on the disk before anything else happens, on file systems that know how."""
        fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in {errno.EINVAL, errno.ENOTSUP}:
                raise
        finally:
            os.close(fd)

    def last_life(self, size: int) -> RecordedLife | None:
        """The life that the end of a landed file of this size belongs to; None where none is on record."""
        return self._find(size, None)

    def life_of(self, container_id: str, size: int) -> RecordedLife | None:
        """The last life of this container in a landed file of this size; None where none is on record."""
        return self._find(size, container_id)

    def cut_torn_event(self) -> None:
        """Cut off what a killed process or a power cut left behind the last whole event, however much that is."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return
        try:
            end = os.fstat(fd).st_size
            while end:
                begin = max(0, end - _BLOCK_BYTES)
                newline = os.pread(fd, end - begin, begin).rfind(b"\n")
                if newline >= 0:
                    end = begin + newline + 1
                    break
                end = begin
            os.ftruncate(fd, end)
        finally:
            os.close(fd)

    def _find(self, size: int, container_id: str | None) -> RecordedLife | None:
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return None
        try:
            search = _LifeSearch(size, container_id)
            lines = _lines_backwards(fd)
            next(lines, None)  # what follows the last newline: nothing, or a torn event
            for line in lines:
                if search.is_over(line):
                    break
            return search.found
        finally:
            os.close(fd)


class _LifeSearch:
    """Looks for a life in events that it is given from the last one on.

    Args:
        size: of the landed file.
        container_id: whose; None: the last one.
    """

    def __init__(self, size: int, container_id: str | None) -> None:
        self._size = size
        self._end = size  # of the life whose events are being looked at
        self._container_id = container_id
        self._complete, self._finished_at = False, ""
        self._gaps: list[int] = []  # the last one first
        self._life: Life | None = None
        self._is_cut = False

    @property
    def found(self) -> RecordedLife | None:
        if self._life is None:
            return None
        last, before = [*self._gaps, 0, 0][:2]
        return RecordedLife(self._life, (last, before), self._end, self._is_cut)

    def is_over(self, line: bytes) -> bool:
        """Take the event before the last one; returns whether none before it matters."""
        if not (b'"from":' in line or b'"gap"' in line or b'"exited"' in line):
            return False
        try:
            match json.loads(line):
                case {"event": LogEventKind.EXITED.value, "offset": int(offset), **details} if self._life is None:
                    self._complete = offset <= self._size  # else a power cut took what had landed then
                    self._finished_at = str(details.get("finished_at", ""))
                case {"event": LogEventKind.GAP.value, "offset": int(offset), **details} if "overlap" not in details:
                    offset = min(offset, self._size)
                    if offset not in self._gaps:
                        self._gaps.append(offset)
                case {
                    "container": str(container_id),
                    "from": int(begin),
                    "started_at": str(started_at),
                    "instance": str(instance_id),
                    **details,
                }:
                    if self._life is None:
                        self._begins(container_id, begin, started_at, instance_id, details)
                    elif container_id != self._life.container_id:
                        return True
                    # A container that was started again goes on in the same life: its gaps are still those of what follows.
                    return self._life is not None and details.get("offset") == begin
        except (ValueError, RecursionError):
            pass  # not of iris
        return False

    def _begins(
        self, container_id: str, begin: int, started_at: str, instance_id: str, details: Mapping[object, object]
    ) -> None:
        offset = min(begin, self._end)
        if self._container_id in {None, container_id}:
            self._life = Life(
                container_id,
                offset,
                started_at,
                instance_id,
                self._complete,
                self._finished_at,
                _stretches(details.get("continues"), offset),
            )
            self._is_cut = offset < begin
        else:
            self._end = offset
            self._complete, self._finished_at = False, ""
            self._gaps.clear()


def _stretches(value: object, end: int) -> tuple[Stretch, ...]:
    stretches = []
    for one in value if isinstance(value, list) else []:
        match one:
            case [int(begin), int(until)] if begin < min(until, end):
                stretches.append((begin, min(until, end)))
    return tuple(stretches)


def _line_of(event: Mapping[str, object]) -> bytes:
    reason = event.get("reason")
    if isinstance(reason, str) and len(reason) > _LONGEST_REASON:
        event = {**event, "reason": reason[:_LONGEST_REASON] + " …"}
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def _write_whole(fd: int, data: bytes) -> None:
    if os.write(fd, data) != len(data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def _lines_backwards(fd: int) -> Iterator[bytes]:
    end = os.fstat(fd).st_size
    rest = b""
    while end > 0:
        begin = max(0, end - _BLOCK_BYTES)
        lines = (os.pread(fd, end - begin, begin) + rest).split(b"\n")
        rest, end = lines[0], begin
        yield from reversed(lines[1:])
    yield rest
