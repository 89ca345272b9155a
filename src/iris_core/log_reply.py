"""A container's log as a Docker engine sends it: bytes in, landed lines out. Pure.

The engine sends one HTTP chunk per log entry, 170,000 a second where it can: each step that Python takes for an entry is some percent of a
core. So two ways lead through the same bytes. One reads anything, entry by entry: chunks by `HttpReply`, in them frames by `FrameReader`.
The other, `usual_lines`, reads only what an engine sends nearly always, in far fewer steps, and leaves the rest to the first: it lands
exactly what that would, or nothing (`just bench-parts` measures both).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from iris_core.engine_api import HttpReply, Message
from iris_core.errors import EngineError
from iris_core.log_lines import NO_LINES, Lines, landed_lines

_OK: Final = 200
_FRAME_HEAD_BYTES: Final = 8
_LARGEST_FRAME_BYTES: Final = 16 * 1024 * 1024  # an entry has at most 16 KiB of payload and its timestamp
_STREAMS: Final = {1: b"stdout", 2: b"stderr"}
_STREAM_ERROR: Final = 3
_STAMP_BYTES: Final = len("2026-01-01T00:00:00.123456789Z")
_T_AT: Final = len("2026-01-01")
_T, _Z = b"TZ"
_LONGEST_SIZE: Final = len("4027\r\n")  # of a chunk, with 16 KiB of payload


class LogReply:
    """The answer to a request for a container's log.

    Args:
        tty: whether the container has a terminal.
    """

    __slots__ = ("_entries", "_error", "_framed", "_refusal", "_reply")

    def __init__(self, *, tty: bool) -> None:
        self._error: EngineError | None = None  # what follows the lines that were returned
        self._reply = HttpReply()
        self._refusal = Message(self._reply)
        self._framed = not tty
        self._entries = FrameReader() if self._framed else TtyReader()

    @property
    def complete(self) -> bool:
        """Whether all of it has come, which is proven, or all that ever will: `check` tells."""
        return self._reply.complete

    def feed(self, data: bytes) -> Lines:
        """Take bytes of the connection and return the lines of the entries that are now whole, in the engine's order.

        Where what follows them is not a log, or the engine reports an error in it, the answer is complete with them.

        Raises:
            EngineError: this is not the answer of an engine.
        """
        reply, entries = self._reply, self._entries
        reply.receive(data)
        if reply.status != _OK:
            self._refusal.add(reply.pieces())
            return NO_LINES
        parts: list[bytes] = []
        count = 0
        lines = NO_LINES
        framed_chunks = reply.chunked and self._framed
        try:
            while True:
                if framed_chunks and not entries.rest:
                    lines, reply.position = usual_lines(reply.unread, reply.position)
                    if lines.count:
                        parts.append(lines.data)
                        count += lines.count
                piece = reply.next_piece()
                if piece is None:
                    break
                read = entries.read(piece)
                parts += read
                count += len(read)
        except EngineError as error:
            self._error = error
            reply.complete = True  # nothing more of it is wanted
            if isinstance(error, _BrokenFrameError):
                parts += error.lines
                count += len(error.lines)
        return lines if lines.count == count else Lines(b"".join(parts), count)

    def check(self) -> None:
        """Check, when it is complete, that it was a log, up to its end.

        Raises:
            EngineError: it was a refusal, or broke off.
        """
        if self._error is not None:
            raise self._error
        if self._reply.status != _OK:
            raise self._refusal.problem()


class _BrokenFrameError(EngineError):
    """A piece of a log breaks off behind the entries that these lines are of."""

    def __init__(self, error: EngineError, lines: list[bytes]) -> None:
        super().__init__(str(error))
        self.lines = lines


class FrameReader:
    """Reads the multiplexed log stream of a container without a terminal.

    A frame is one log entry: `STREAM 0 0 0 LENGTH(4, big-endian) TIMESTAMP SPACE PAYLOAD`. An engine sends each in an HTTP chunk of its
    own, but frames may also share a piece of the body or be cut by pieces.

    Attributes:
        rest: the beginning of a frame whose end has not come yet.
    """

    __slots__ = ("rest",)

    def __init__(self) -> None:
        self.rest = b""

    def read(self, piece: bytes) -> list[bytes]:
        """Take a piece of the body and return the landed lines of the entries that are now whole, in the engine's order.

        Raises:
            EngineError: this is not a log stream, or the engine reports an error in it.
        """
        lines: list[bytes] = []
        data = self.rest + piece if self.rest else piece
        position, length = 0, len(data)
        try:
            while length - position >= _FRAME_HEAD_BYTES:
                begin = position + _FRAME_HEAD_BYTES
                size = int.from_bytes(data[position + 4 : begin], "big")
                if size > _LARGEST_FRAME_BYTES:
                    raise _no_frames()
                end = begin + size
                if length < end:
                    break
                stream = _STREAMS.get(data[position])
                if stream is None:
                    raise _bad_stream(data[position], data[begin:end])
                lines += landed_lines(stream, data[begin:end])
                position = end
        except EngineError as error:
            raise _BrokenFrameError(error, lines) from error
        self.rest = data[position:]
        return lines


class TtyReader:
    """Reads the raw log stream of a container with a terminal: no frames, and all of it is stdout.

    Such a stream does not say where an entry ends (a line of more than 16 KiB has a timestamp in its middle), but the engine writes each
    entry with one call and so sends it in one HTTP chunk (seen with 20.10.24 and moby's api/server/httputils/write_log_stream.go).
    """

    __slots__ = ()

    rest: Final = b""  # each chunk is an entry

    def read(self, piece: bytes) -> list[bytes]:
        """Take a chunk of the body and return the landed lines of its entry.

        Raises:
            EngineError: the chunk does not begin with a timestamp.
        """
        return landed_lines(b"stdout", piece)


def usual_lines(data: bytes, position: int) -> tuple[Lines, int]:
    """Read HTTP chunks each of which is one frame that is one whole line with a timestamp in UTC, up to one that is not.

    Args:
        data: from a connection.
        position: in it, where a chunk begins.

    Returns:
        The landed lines, and the position after their chunks.
    """
    parts: list[bytes] = []
    length, find = len(data), data.find
    head_bytes = 12  # as long as the last one: most lines of a log are of similar length
    while position < length:
        begin = position + head_bytes
        head = _usual_head(data[position:begin])
        if head is None:  # of another length, or none
            begin = find(b"\n", position, position + _LONGEST_SIZE) + 1 + _FRAME_HEAD_BYTES
            head = _usual_head(data[position:begin])
            if head is None:
                break
            head_bytes = begin - position
        size, tags = head
        end = begin + size
        space = begin + _STAMP_BYTES
        if (
            find(b"\n", begin) != end - 1
            or data[end : end + 2] != b"\r\n"
            or find(b" ", begin) != space
            or data[space - 1] != _Z
            or data[begin + _T_AT] != _T
        ):
            break
        parts += (data[begin:space], tags, data[space:end])
        position = end + 2
    return (Lines(b"".join(parts), len(parts) // 3) if parts else NO_LINES), position


@lru_cache(maxsize=4096)  # one per stream and length of line
def _usual_head(head: bytes) -> tuple[int, bytes] | None:
    """Of a chunk that is one frame: the size of its entry, and what is landed between timestamp and payload. None: it is no such head.

    The same ones are met again and again, and to look one up takes a tenth of the time of reading it.
    """
    chunk_size, _, frame = head.partition(b"\r\n")
    stream = _STREAMS.get(int.from_bytes(frame[:4], "little"))
    size = int.from_bytes(frame[4:], "big")
    if len(frame) != _FRAME_HEAD_BYTES or stream is None or size < _STAMP_BYTES + 2:
        return None
    return (size, b" " + stream + b" F") if chunk_size == b"%x" % (size + _FRAME_HEAD_BYTES) else None


def _bad_stream(number: int, payload: bytes) -> EngineError:
    if number == _STREAM_ERROR:
        return EngineError(f"The Docker engine broke off the log: {payload[:200].decode(errors='replace').strip()}")
    return _no_frames()


def _no_frames() -> EngineError:
    return EngineError("The Docker engine sent something other than log frames")
