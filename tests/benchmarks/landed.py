"""When lines land: watches a directory of landed files through inotify, and compares with the time that each line carries.

Nothing is asked of the process that lands them. What the kernel needs to tell of a change, and this process to hear it and look, is
counted as time before the landing: the figures are what `tail -f` would see.
"""

from __future__ import annotations

import ctypes
import os
import select
import struct
import threading
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from pathlib import Path

_IN_MODIFY: Final = 0x2
_IN_Q_OVERFLOW: Final = 0x4000
_EVENT: Final = struct.Struct("iIII")
_READ_BYTES: Final = 1 << 20
_GLANCE_SECONDS: Final = 0.1
_POLL_SECONDS: Final = 0.02
_SECONDS_CHARACTERS: Final = 19  # of 2026-01-01T00:00:00


class Latencies(NamedTuple):
    """From printed to landed, in milliseconds."""

    lines: int
    p50: float
    p99: float
    most: float


class Landings:
    """Watches until closed.

    Args:
        directory: of the landed files; it exists.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.inotify_init1(os.O_CLOEXEC)
        if (
            self._descriptor < 0
            or self._libc.inotify_add_watch(self._descriptor, os.fsencode(directory), _IN_MODIFY) < 0
        ):
            raise OSError(ctypes.get_errno(), "inotify does not work here")
        self._lock = threading.Lock()
        self._read_to: dict[str, int] = {}
        self._rests: dict[str, bytes] = {}
        self._latencies: list[float] = []
        self._first_at: dict[str, float] = {}
        self._seconds: dict[bytes, float] = {}
        self._overflowed = False
        self._closing = False
        self._thread = threading.Thread(target=self._watch, name="landings", daemon=True)
        self._thread.start()

    @property
    def files(self) -> int:
        """How many have at least one line."""
        with self._lock:
            return len(self._first_at)

    def wait_for(self, files: int, seconds: float) -> None:
        """Wait until so many have a line.

        Raises:
            TimeoutError: they have not within so many seconds.
        """
        ends_at = time.monotonic() + seconds
        while self.files < files:
            if time.monotonic() > ends_at:
                raise TimeoutError(f"{self.files} of {files} streams landed a line within {seconds:.0f} s")
            time.sleep(_POLL_SECONDS)

    def first_lines_after(self, began: float) -> list[float]:
        """When each file got its first line, in seconds after `began` (of `time.monotonic`), sorted."""
        with self._lock:
            return sorted(at - began for at in self._first_at.values())

    def take(self) -> Latencies:
        """Those of all lines since the last call.

        Raises:
            RuntimeError: changes were missed.
        """
        with self._lock:
            if self._overflowed:
                raise RuntimeError("the kernel had more changes to tell than it keeps: the figures would be wrong")
            latencies, self._latencies = sorted(self._latencies), []
        if not latencies:
            return Latencies(0, 0.0, 0.0, 0.0)
        count = len(latencies)
        p50, p99 = latencies[count // 2], latencies[min(count - 1, count * 99 // 100)]
        return Latencies(count, p50 * 1000, p99 * 1000, latencies[-1] * 1000)

    def close(self) -> None:
        """Watch no more."""
        self._closing = True
        self._thread.join()
        os.close(self._descriptor)

    def _watch(self) -> None:
        while not self._closing:
            if not select.select([self._descriptor], [], [], _GLANCE_SECONDS)[0]:
                continue
            data = os.read(self._descriptor, _READ_BYTES)
            changed: dict[str, None] = {}
            position = 0
            while position < len(data):
                _, mask, _, size = _EVENT.unpack_from(data, position)
                position += _EVENT.size
                self._overflowed |= bool(mask & _IN_Q_OVERFLOW)
                name = os.fsdecode(data[position : position + size].rstrip(b"\0"))
                position += size
                if name.endswith(".txt"):
                    changed[name] = None
            for name in changed:
                self._look(name)

    def _look(self, name: str) -> None:
        with (self._directory / name).open("rb") as file:
            file.seek(self._read_to.get(name, 0))
            data = file.read()
        now, moment = time.time(), time.monotonic()
        if not data:
            return
        self._read_to[name] = self._read_to.get(name, 0) + len(data)
        *lines, self._rests[name] = (self._rests.get(name, b"") + data).split(b"\n")
        with self._lock:
            if lines:
                self._first_at.setdefault(name, moment)
            self._latencies += [now - self._time_of(line) for line in lines]

    def _time_of(self, line: bytes) -> float:
        """Of `2026-01-01T00:00:00.123456789Z …`, in seconds since 1970."""
        second = line[:_SECONDS_CHARACTERS]
        known = self._seconds.get(second)
        if known is None:
            known = self._seconds[second] = datetime.fromisoformat(f"{second.decode()}+00:00").timestamp()
        return known + float(line[_SECONDS_CHARACTERS : line.index(b"Z")])
