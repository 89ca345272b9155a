"""The lines of a landed file: the CRI log format, which kubelet writes and log collectors parse. Pure.

`TIMESTAMP stdout|stderr F|P PAYLOAD`, and a newline: tagged F where that newline is the entry's own, P where the entry had none.
Format: https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from iris_core.errors import EngineError


@dataclass(
    slots=True
)  # not frozen: that takes three times as long to make, and there is one for all that comes at a time
class Lines:
    r"""Landed lines, in order, as they lie in the file: most are never looked at one by one.

    Attributes:
        data: the lines, each with its only `\n` at its end.
        count: how many.
    """

    data: bytes
    count: int

    @classmethod
    def of(cls, lines: list[bytes]) -> Lines:
        """These lines."""
        return cls(b"".join(lines), len(lines))

    def apart(self) -> list[bytes]:
        """Each by itself."""
        return io.BytesIO(self.data).readlines()


NO_LINES: Final = Lines(b"", 0)

_LOCAL: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?([+-]\d\d:\d\d)")


def landed_lines(stream: bytes, entry: bytes) -> list[bytes]:
    """One log entry as landed lines: several if it has a newline inside (the engine writes none, but one would tear the landed file).

    Their timestamp is always one in UTC: an entry is to land as the same line whatever zone its engine has when it serves it.

    Args:
        stream: `stdout` or `stderr`.
        entry: `TIMESTAMP SPACE PAYLOAD`, as the engine sends it.

    Raises:
        EngineError: the entry does not begin with a timestamp.
    """
    timestamp, _, payload = entry.partition(b" ")
    if timestamp[-1:] != b"Z":
        timestamp = _in_utc(timestamp)
    if timestamp[10:11] != b"T" or b"\n" in timestamp:
        raise EngineError(f"The Docker engine sent a log entry without a timestamp: {entry[:60]!r}")
    head = timestamp + b" " + stream
    line_end = payload.find(b"\n") + 1
    if not line_end:
        return [head + b" P " + payload + b"\n"]
    if line_end == len(payload):
        return [head + b" F " + payload]
    *lines, part = payload.split(b"\n")
    return [head + b" F " + line + b"\n" for line in lines] + ([head + b" P " + part + b"\n"] if part else [])


def _in_utc(timestamp: bytes) -> bytes:
    """A timestamp in some zone's time, in UTC; empty for what is none.

    Engines before 25.0 give those of the `local` driver in the daemon's zone, which may change, as the engine may:
    https://github.com/moby/moby/issues/46910
    """
    match = _LOCAL.fullmatch(timestamp)
    if match is None:
        return b""
    seconds, fraction, offset = match.groups(b"")
    second = _second_in_utc(seconds + offset)
    return second and second + fraction + b"Z"


@lru_cache(maxsize=1024)  # many lines come within a second
def _second_in_utc(local: bytes) -> bytes:
    try:
        return datetime.fromisoformat(local.decode()).astimezone(UTC).isoformat()[: -len("+00:00")].encode()
    except (ValueError, OverflowError):  # no such time
        return b""


def payload_of(line: bytes) -> bytes:
    """What the container wrote, from a landed line: the inverse of `landed_lines`, without stream and timestamp."""
    _, _, tag, payload = line.split(b" ", 3)
    return payload if tag == b"F" else payload[:-1]
