"""The landed file: append-only, locked, private, and its own cursor. Beside it lies the record of its events (`event_record`)."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import stat
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from iris_core.errors import LogFileError, LogFileLockedError
from iris_core.event_record import EventRecord, Life
from iris_core.log_cursor import Tail, ends_certainly, tail_suffices
from iris_core.log_events import LogEventKind
from iris_core.log_paths import events_path, make_private

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from iris_core.event_record import Stretch

_BLOCK_BYTES: Final = 64 * 1024
_MOST_TAIL_BYTES: Final = 16 * 1024 * 1024  # read back at most; keeps a resume short whatever the size of the file
_LANDED_LINE: Final = re.compile(rb"\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:\d\d) (?:stdout|stderr) [FP] ")
_WHOLE_LANDED_LINE: Final = re.compile(_LANDED_LINE.pattern + rb".*\n")
_LINE_HEAD_BYTES: Final = 80  # more than what the pattern matches
_TORN_HEAD: Final = re.compile(rb"(?:\d[\dT:.Z+-]*(?: [a-z]*(?: [FP]?)?)?)?(?:\0|\Z)")
_NEW_FILE: Final = os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class LandedFile:
    """One landed log, opened for appending by this process alone.

    Args:
        path: the file; it and its directories are made (0600 and 0700) if they are missing. What is there is continued, after a torn last
            line (of a process that was killed in the middle of a write) has been cut off.

    Raises:
        LogFileLockedError: another process has it open.
        LogFileError: it cannot be written, or holds something that iris did not land.
    """

    __slots__ = ("_fd", "_gaps", "_record", "_torn", "_unrecorded", "life", "path", "size")

    def __init__(self, path: Path) -> None:
        self.path = path
        self._record = EventRecord(os.fspath(events_path(path)))
        self._fd = -1
        self._gaps = (0, 0)  # the offsets of the last gap that was told, and of the one before
        self._unrecorded = False  # whose the last lines are is not on record as it is
        self._torn = False  # a write failed in the middle, and what it wrote could not be cut off
        try:
            make_private(path.parent)
            self._fd = os.open(path, os.O_RDWR | _NEW_FILE, 0o600)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.size = os.fstat(self._fd).st_size
            self.life = self._continue()
        except BlockingIOError:
            self._let_go()
            raise LogFileLockedError(
                f"Another process captures into {path}. Stop it, or choose another directory.", path=path
            ) from None
        except OSError as error:
            self._let_go()
            raise _unwritable(path, error) from error
        except BaseException:
            self._let_go()
            raise

    def append(self, data: bytes) -> None:
        """Append whole lines: all of them, or none.

        Raises:
            LogFileError: they could not be written (no space, say); the file is as it was before.
        """
        try:
            if self._torn:
                os.ftruncate(self._fd, self.size)
            self._torn = True
            written = os.write(self._fd, data)
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            with suppress(OSError):
                os.ftruncate(self._fd, self.size)
                self._torn = False
            raise _unwritable(self.path, error) from error
        self._torn = False
        self.size += len(data)

    def verify(self) -> None:
        """See that what has landed is there: that nobody has deleted, replaced or changed the file since it was opened.

        Raises:
            LogFileError: somebody has; what was appended since may be lost, and nothing more is to be.
        """
        try:
            mine, there = os.fstat(self._fd), self.path.lstat()
        except FileNotFoundError:
            wrong = "was deleted or moved away"
        except OSError as error:
            raise _unreadable(self.path, error) from error
        else:
            if not os.path.samestat(mine, there):
                wrong = "was replaced by another file"
            elif mine.st_size != self.size and not self._torn:
                wrong = f"has {mine.st_size} bytes, but {self.size} have landed in it: somebody has changed it"
            else:
                return
        raise LogFileError(
            f"{self.path} {wrong}. Nothing more is landed in it. Put it back as it was, and it goes on; or stop iris and start it "
            "again, which lands after what it finds all that the engine still holds.",
            path=self.path,
        )

    def tail(self) -> Tail:
        """The end of what has landed of the present container since the last gap, long enough to find it again in the engine's log.

        Raises:
            LogFileError: the file could not be read, or is not as it was left (`verify`).
        """
        self.verify()
        stretches = self.life.contiguous(self._gaps, self.size) if self.life else ((0, self.size),)
        landed_bytes = sum(end - begin for begin, end in stretches)
        least = 0
        while True:
            least = min(max(_BLOCK_BYTES, least * 4), _MOST_TAIL_BYTES)
            data = self._end_of(stretches, least)
            lines = tuple(_WHOLE_LANDED_LINE.findall(data))
            if sum(map(len, lines)) != len(data):
                return Tail(self._after_foreign(data), whole=True, landed_bytes=landed_bytes)
            tail = Tail(lines, least >= landed_bytes, landed_bytes)
            if tail_suffices(tail) or least == _MOST_TAIL_BYTES:
                return tail

    def _end_of(self, stretches: Sequence[Stretch], most: int) -> bytes:
        """The last whole lines of them, of so many bytes at most."""
        pieces: list[bytes] = []
        for begin, end in reversed(stretches):
            if most <= 0:
                break
            at = max(begin, end - most)
            try:
                data = os.pread(self._fd, end - at, at)
            except OSError as error:
                raise _unreadable(self.path, error) from error
            pieces.append(data[data.find(b"\n") + 1 :] if at > begin else data)  # its first line is cut
            most -= end - at
        return b"".join(reversed(pieces))

    def _after_foreign(self, data: bytes) -> tuple[bytes, ...]:
        """The lines after the last one that iris did not land (an editor's, a power cut's), if they are enough to know the end by."""
        *lines, rest = data.split(b"\n")
        foreign = [at for at, line in enumerate(lines) if not _LANDED_LINE.match(line)]
        latest = tuple(line + b"\n" for line in lines[foreign[-1] + 1 if foreign else 0 :])
        if rest or not ends_certainly(latest):
            raise LogFileError(
                f"{self.path} holds something that iris did not land, near its end. Move it away, or choose another directory.",
                path=self.path,
            )
        return latest

    def begin_life(self, event: Mapping[str, object], *, container_id: str, started_at: str, instance_id: str) -> None:
        """Record whose lines follow: another container's, from here on, or those of another start of the same one.

        Raises:
            LogFileError: it could not be written, or the landed file is not as it was left; nothing of the new container may be landed
                then.
        """
        self.verify()
        if self.life is not None and self.life.container_id == container_id:
            life = replace(self.life, started_at=started_at, instance_id=instance_id, complete=False, finished_at="")
            self.note({**event, **life.as_record()})
        else:
            life = Life(container_id, self.size, started_at, instance_id, earlier=self._earlier(container_id))
            self.note({**event, **life.as_record()})
            if self.life is not None:
                self._settle()
            self._gaps = (0, 0)
        self.life = life

    def _earlier(self, container_id: str) -> tuple[Stretch, ...]:
        """Where the lines are that landed of a container before another one bore its name."""
        if self.life is None:
            return ()
        try:
            known = self._record.life_of(container_id, self.size)
        except OSError as error:
            raise _unwritable(events_path(self.path), error) from error
        if known is None:
            return ()
        return tuple(stretch for stretch in known.life.contiguous(known.gaps, known.end) if stretch[0] < stretch[1])

    def note(self, event: Mapping[str, object]) -> None:
        """Append one event to the record.

        Raises:
            LogFileError: it could not be written.
        """
        lost = self._lost_events(event.get("at"))
        before, first = (lost, []) if self._unrecorded else ([], lost)
        try:
            self._record.append(*before, {**event, "offset": self.size}, first=first)
        except OSError as error:
            raise _unwritable(events_path(self.path), error) from error
        self._unrecorded = False
        if event.get("event") == LogEventKind.GAP.value and "overlap" not in event:
            self._note_gap(self.size)

    def _lost_events(self, at: object) -> list[dict[str, object]]:
        """What the record must say of the present life, where it does not: somebody has deleted it, or a power cut took lines before."""
        life = self.life
        if life is None:
            return []
        why = {"at": at, "reason": "recorded anew: the record of it was lost, or was of lines that were"}
        gaps = [gap for gap in reversed(self._gaps) if gap > life.offset]
        return [
            {**why, "event": LogEventKind.STARTED.value, **life.as_record(), "offset": life.offset},
            *({**why, "event": LogEventKind.GAP.value, "offset": gap} for gap in gaps),
        ]

    def _settle(self) -> None:
        """Another container's lines follow: without its record, a power cut that spares them would make them the former one's."""
        try:
            self._record.make_durable()
        except OSError as error:
            raise _unwritable(events_path(self.path), error) from error

    def _note_gap(self, offset: int) -> None:
        if offset != self._gaps[0]:
            self._gaps = (offset, self._gaps[0])

    def close(self) -> None:
        """Close the file and give up its lock. Idempotent.

        Raises:
            LogFileError: it is closed, but its last lines may not have got to the disk (of a network file system, or one with quotas).
        """
        # First: what fails to close is closed all the same, and its number is another file's soon.
        fd, self._fd = self._fd, -1
        try:
            if fd >= 0:
                os.close(fd)
        except OSError as error:
            raise LogFileError(
                f"{self.path} was closed with an error: {error.strerror}. Its last lines may be lost; the next capture into it goes on "
                "after those that are not.",
                path=self.path,
            ) from error

    def _let_go(self) -> None:
        with suppress(LogFileError):
            self.close()

    def _continue(self) -> Life | None:
        """Cut off what a killed process or a power cut left behind the last whole line, and behind the last whole event."""
        if not stat.S_ISREG(os.fstat(self._fd).st_mode):
            raise LogFileError(f"{self.path} is not a file. Choose another directory.", path=self.path)
        end = self._landed_end()
        known = self._record.last_life(end)
        self._cut_torn_line(end, known=known is not None)
        self._record.cut_torn_event()
        if known is None:
            return None
        self._gaps = known.gaps
        self._unrecorded = known.is_cut
        return known.life

    def _cut_torn_line(self, end: int, *, known: bool) -> None:
        if self.size and not known:
            raise LogFileError(
                f"{events_path(self.path)} does not say which container the lines of {self.path} are from. Move both away, or choose "
                "another directory.",
                path=self.path,
            )
        torn = os.pread(self._fd, _LINE_HEAD_BYTES, end)
        if not (_LANDED_LINE.match(torn) or _TORN_HEAD.match(torn)):
            raise LogFileError(
                f"{self.path} holds something that iris did not land, {end} bytes from its beginning. Move it away, or choose "
                "another directory.",
                path=self.path,
            )
        if torn:
            os.ftruncate(self._fd, end)
            self.size = end

    def _landed_end(self) -> int:
        """Where the last whole landed line ends; 0 if there is none."""
        end, block = self.size, _BLOCK_BYTES
        while end > 0:
            begin = max(0, end - block)
            found = _end_of_last_landed_line(os.pread(self._fd, end - begin, begin))
            if found or begin == 0:
                return begin + found if found else 0
            # What is left of the block may be the end of a line that begins before it.
            end, block = begin + block // 2, _MOST_TAIL_BYTES
        return 0


def is_being_captured(path: Path) -> bool:
    """Whether a process lands into this file at present.

    The lock is taken for a moment to see that; a capture that begins in that very moment is refused, and tries again.

    Raises:
        OSError: the file cannot be opened.
    """
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def _end_of_last_landed_line(data: bytes) -> int:
    end = len(data)
    while end > 0:
        end = data.rfind(b"\n", 0, end) + 1
        start = data.rfind(b"\n", 0, end - 1) + 1 if end else 0
        if end and _LANDED_LINE.match(data, start, end):
            return end
        end = start
    return 0


def _unreadable(path: Path, error: OSError) -> LogFileError:
    return LogFileError(f"Cannot read {path}: {error.strerror}. Nothing was changed.", path=path)


def _unwritable(path: Path, error: OSError) -> LogFileError:
    if error.errno == errno.ELOOP:
        return LogFileError(
            f"{error.filename or path} is a symbolic link, and iris writes through none. Move it away, or choose another directory.",
            path=path,
        )
    return LogFileError(
        f"Cannot write {path}: {error.strerror or error}. What has landed is whole; make room or give access, and it goes on.",
        path=path,
    )
