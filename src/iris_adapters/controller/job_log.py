"""What a job has printed: bytes to lines, and the bounded memory that keeps the lines. No I/O."""

from __future__ import annotations

from dataclasses import dataclass

MOST_LINE_BYTES = 65536
"""A longer line is cut into lines of this length: no line may grow without bound in memory."""

_CHUNK_LINES = 64
_CONTINUES = 0b10 << 6  # the two highest bits of a byte that continues a UTF-8 character
_CONTINUES_MASK = 0b11 << 6
_MOST_CONTINUING_BYTES = 3


class LineAssembler:
    """Cuts a stream of bytes into lines of text. What is not UTF-8 becomes U+FFFD."""

    def __init__(self, most_line_bytes: int = MOST_LINE_BYTES) -> None:
        self._most_line_bytes = most_line_bytes
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[str]:
        """The lines, without their ends, that `data` completes."""
        # Only the new bytes are searched: a long line that comes in small pieces must not cost its length squared.
        *ends, rest = data.split(b"\n")
        lines: list[str] = []
        for end in ends:
            self._rest += end
            self._cut(lines)
            lines.append(_text(self._rest))
            self._rest.clear()
        self._rest += rest
        self._cut(lines)
        return lines

    def end(self) -> list[str]:
        """The last line, if the stream did not end with a line end."""
        lines = [_text(self._rest)] if self._rest else []
        self._rest.clear()
        return lines

    def _cut(self, lines: list[str]) -> None:
        while len(self._rest) > self._most_line_bytes:
            cut = self._most_line_bytes
            while cut > self._most_line_bytes - _MOST_CONTINUING_BYTES and _continues(self._rest[cut]):
                cut -= 1
            lines.append(_text(self._rest[:cut]))
            del self._rest[:cut]


@dataclass(frozen=True, slots=True)
class LogChunk:
    """A part of a job's log.

    Attributes:
        text: whole lines with their ends; empty where there is nothing new.
        position: what to ask for next.
        is_last: whether the job has ended and nothing follows.
    """

    text: str
    position: int
    is_last: bool


class JobLog:
    """The last `limit_bytes` (UTF-8, roughly) of a job's lines. Not thread-safe: its owner locks.

    Memory and not a file: nothing is left behind whatever happens, and whoever wants everything on disk adds a handler to the
    `iris` logger, which gets every line.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._lines: list[str] = []
        self._bytes = 0
        self._dropped = 0

    def append(self, lines: list[str]) -> None:
        """Keep these lines, given without their ends."""
        self._lines += [f"{line}\n" for line in lines]
        self._bytes += sum(map(_size, self._lines[len(self._lines) - len(lines) :]))
        if self._bytes > self._limit_bytes:
            self._drop()

    def text(self) -> str:
        """All that is kept; if lines were dropped, the first line says how many."""
        return self._note(0) + "".join(self._lines)

    def read(self, position: int) -> tuple[str, int]:
        """Some lines from `position` (0: the beginning) on, and the position after them. A few at a time."""
        start = max(position - self._dropped, 0)
        lines = self._lines[start : start + _CHUNK_LINES]
        return (self._note(position) if lines else "") + "".join(lines), max(
            position, self._dropped + start + len(lines)
        )

    def _note(self, position: int) -> str:
        lost = self._dropped - position
        return f"[iris: {lost} earlier lines are no longer kept by the controller]\n" if lost > 0 else ""

    def _drop(self) -> None:
        # Down to three quarters at once, so that a full log does not move its list with every line.
        count = 0
        while self._bytes > self._limit_bytes * 3 // 4 and count < len(self._lines):
            self._bytes -= _size(self._lines[count])
            count += 1
        del self._lines[:count]
        self._dropped += count


def _continues(byte: int) -> bool:
    return byte & _CONTINUES_MASK == _CONTINUES


def _size(line: str) -> int:
    return len(line) if line.isascii() else len(line.encode())


def _text(data: bytearray) -> str:
    return data.decode("utf-8", "replace")
