r"""A container's log as a Docker engine keeps it, in a file of the driver json-file: bytes in, landed lines out. Pure.

One JSON object a line, one line an entry: `{"log":"PAYLOAD\n","stream":"stdout","time":"2026-01-01T00:00:00.123456789Z"}` (moby's
daemon/logger/jsonfilelog/jsonlog). Its API serves the same entries in the same order, with the times' dropped zeros put back.
"""

from __future__ import annotations

import json
import re
from typing import Final

from iris_core.errors import EngineError
from iris_core.log_lines import NO_LINES, Lines, landed_lines

# An entry that is one whole line; what was escaped in it is left so. An object of attributes may stand before the time.
_USUAL: Final = re.compile(
    rb'^\{"log":"([^"\\]*(?:\\.[^"\\]*)*)\\n","stream":"(stdout|stderr)"(?:,"attrs":\{.*\})?,"time":"(\d{4}-\d\d-\d\dT[\d:.]{8,18})Z"\}$',
    re.MULTILINE,
)
_SECONDS_BYTES: Final = len("2026-01-01T00:00:00")
_STAMP_BYTES: Final = len("2026-01-01T00:00:00.123456789")
_LONGEST_ENTRY_BYTES: Final = 1024 * 1024  # 16 KiB of payload, each byte escaped by six, and the attributes


class JsonFileLog:
    """Reads such a file from some byte on.

    Args:
        from_start: whether that is its first. If not, what comes before the first newline may be cut, and is left out.

    Attributes:
        consumed: how many bytes the entries had that were returned or left out.
    """

    def __init__(self, *, from_start: bool) -> None:
        self.consumed = 0
        self._rest = b""
        self._in_cut_entry = not from_start

    def feed(self, data: bytes) -> Lines:
        """Take the file's next bytes and return the lines of the entries that are now whole, in their order.

        Raises:
            EngineError: this is not such a file, or an entry is damaged.
        """
        if self._in_cut_entry:
            begin = data.find(b"\n") + 1
            self.consumed += begin or len(data)
            if not begin:
                return NO_LINES
            self._in_cut_entry = False
            data = data[begin:]
        data = self._rest + data
        end = data.rfind(b"\n") + 1
        self._rest = data[end:]
        if len(self._rest) > _LONGEST_ENTRY_BYTES:
            raise EngineError(f"The Docker engine's log file has an entry that does not end: {self._rest[:60]!r}")
        if not end:
            return NO_LINES
        self.consumed += end
        return _lines_of(data[:end])


def _lines_of(entries: bytes) -> Lines:
    """The lines of whole entries."""
    usual = _USUAL.findall(entries)
    if len(usual) != entries.count(b"\n"):  # each ends with its only newline
        return Lines.of([line for entry in entries.split(b"\n")[:-1] for line in _lines_of_any(entry)])
    try:
        parts = [
            b"%bZ %b F %b\n" % (_nine_digits(time), stream, _unescaped(log) if b"\\" in log else log)
            for log, stream, time in usual
        ]
    except ValueError as error:
        raise EngineError(f"The Docker engine's log file has a damaged entry: {error}") from error
    return Lines(b"".join(parts), len(parts))


def _lines_of_any(entry: bytes) -> list[bytes]:
    try:
        match json.loads(entry):
            case {"stream": "stdout" | "stderr" as stream, "time": str(time), **others}:
                stamp = _nine_digits(time.removesuffix("Z").encode())
                payload = str(others.get("log", "")).encode()
                return landed_lines(stream.encode(), b"%bZ %b" % (stamp, payload))
    except ValueError:
        pass
    raise EngineError(f"The Docker engine's log file has a damaged entry: {entry[:60]!r}")


def _nine_digits(time: bytes) -> bytes:
    """A time without its `Z`, with the zeros at its end that Go's RFC3339Nano drops."""
    if len(time) == _STAMP_BYTES:
        return time
    return (time if len(time) > _SECONDS_BYTES else time + b".").ljust(_STAMP_BYTES, b"0")


def _unescaped(log: bytes) -> bytes:
    text: str = json.loads(f'"{log.decode()}"')
    return text.encode()
