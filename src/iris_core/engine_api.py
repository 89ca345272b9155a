"""What a Docker engine answers: bytes in, values out. Pure.

The head of an answer is read by h11. The body is not: the engine sends one HTTP chunk per log entry, 170,000 a second where it can, and
h11 takes about 4.3 µs for a chunk, which would be most of a core, against 0.5 µs here (`just bench` measures both).
"""

from __future__ import annotations

import json
from typing import Final

import h11

from iris_core.errors import EngineError

_LONGEST_CHUNK_HEAD: Final = 64  # hex digits and extensions; the engine sends fewer than ten
_LARGEST_MESSAGE_BYTES: Final = 16 * 1024 * 1024  # of an answer that is read whole (inspect, list)
_HTTP_OK: Final = 200
_FRAME_HEAD_BYTES: Final = 8
_LARGEST_FRAME_BYTES: Final = 16 * 1024 * 1024  # an entry has at most 16 KiB of payload and its timestamp
_STREAM_NAMES: Final = {1: b" stdout ", 2: b" stderr "}
_STREAM_ERROR: Final = 3
_REQUEST: Final = h11.Request(
    method="GET", target="/", headers=[("Host", "docker")]
)  # made once: to check it takes 100 µs
_REQUEST_END: Final = h11.EndOfMessage()
_WHOLE_LINE_HEADS: Final = {
    bytes([number, 0, 0, 0]): name + b"F " for number, name in _STREAM_NAMES.items()
}  # of a frame, and what is landed between the timestamp and the payload of an entry with a newline at its end
_T_AT: Final = _FRAME_HEAD_BYTES + len("2026-01-01")


class HttpReply:
    """One HTTP/1.1 answer, read as its bytes come.

    Attributes:
        status: the HTTP status, 0 until the head is complete.
        complete: whether the whole body has come, proven by its final chunk or its length. A connection that ends before proves nothing.
    """

    def __init__(self) -> None:
        self.status = 0
        self.complete = False
        self._h11: h11.Connection | None = h11.Connection(h11.CLIENT)
        self._h11.send(_REQUEST)
        self._h11.send(_REQUEST_END)
        self._rest = b""  # of the chunks: the beginning of one
        self._chunked = False
        self._left: int | None = None  # of a body with a length

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes of the connection and return the pieces of the body that are now whole, in order.

        Raises:
            EngineError: this is not the answer of an engine.
        """
        if not self.status:
            data = self._read_head(data)
            if not self.status:
                return []
        if self.complete:
            if data:
                raise EngineError("The Docker engine sent bytes after the end of its answer")
            return []
        if self._chunked:
            return self._read_chunks(self._rest + data if self._rest else data)
        if self._left is None:
            return [data] if data else []  # until the connection ends, which proves nothing
        if len(data) > self._left:
            raise EngineError("The Docker engine sent more bytes than it had announced")
        self._left -= len(data)
        self.complete = self._left == 0
        return [data] if data else []

    def _read_head(self, data: bytes) -> bytes:
        parser = self._h11
        if parser is None:
            return data
        try:
            parser.receive_data(data)
            while isinstance(event := parser.next_event(), h11.InformationalResponse):
                pass  # `100 Continue` and the like are not the answer
        except h11.RemoteProtocolError as error:
            raise EngineError(f"What answers is not a Docker engine: {error}; it sent {bytes(data[:80])!r}") from error
        if not isinstance(event, h11.Response):
            return b""
        headers = {bytes(name): bytes(value) for name, value in event.headers}
        self.status = event.status_code
        self._chunked = headers.get(b"transfer-encoding", b"").lower() == b"chunked"
        if not self._chunked and b"content-length" in headers:
            self._left = int(headers[b"content-length"])
            self.complete = self._left == 0
        self._h11 = None  # 6 KB, for as long as a follow goes on
        rest, _ = parser.trailing_data
        return rest

    def _read_chunks(self, data: bytes) -> list[bytes]:
        position, pieces = 0, []
        while True:
            head_end = data.find(b"\r\n", position, position + _LONGEST_CHUNK_HEAD)
            if head_end < 0:
                if len(data) - position >= _LONGEST_CHUNK_HEAD:
                    raise _not_in_chunks()
                break
            try:
                size = int(data[position:head_end], 16)
            except ValueError:
                size = _size_before_extensions(data[position:head_end])
            if not 0 <= size <= _LARGEST_MESSAGE_BYTES:  # int() takes a sign
                raise _not_in_chunks()
            begin = head_end + 2
            end = begin + size
            if len(data) < end + 2:
                break
            if not data.startswith(b"\r\n", end):
                raise _not_in_chunks()
            position = end + 2
            if size == 0:
                self.complete = True
                break
            pieces.append(data[begin:end])
        self._rest = data[position:]
        if self.complete and self._rest:
            raise EngineError("The Docker engine sent bytes after the end of its answer")
        return pieces


class Message:
    """The body of an answer that is read whole: inspect, list, and every refusal.

    Args:
        reply: the answer it is the body of.
    """

    def __init__(self, reply: HttpReply) -> None:
        self.reply = reply
        self._body = bytearray()

    def add(self, pieces: list[bytes]) -> None:
        """Add pieces of the body.

        Raises:
            EngineError: it is far too large.
        """
        for piece in pieces:
            self._body += piece
        if len(self._body) > _LARGEST_MESSAGE_BYTES:
            raise EngineError("The Docker engine's answer is larger than any it should give")

    @property
    def body(self) -> bytes:
        """What has come of it."""
        return bytes(self._body)

    def json(self) -> object:
        """The answer's value.

        Raises:
            EngineError: it is not JSON.
        """
        try:
            return json.loads(bytes(self._body))
        except (ValueError, RecursionError) as error:
            raise EngineError(f"The Docker engine's answer is not JSON: {bytes(self._body[:80])!r}") from error

    def problem(self) -> EngineError:
        """A refusal as an error, in the engine's words."""
        try:
            value = json.loads(bytes(self._body))
            text = str(value["message"])
        except (ValueError, KeyError, TypeError, RecursionError):
            text = bytes(self._body[:200]).decode(errors="replace").strip()
        return EngineError(f"The Docker engine answered {self.reply.status}: {text}", status=self.reply.status)


class FrameReader:
    """Reads the multiplexed log stream of a container without a terminal, and gives landed lines (see `landed_line`).

    A frame is one log entry: `STREAM 0 0 0 LENGTH(4, big-endian) TIMESTAMP SPACE PAYLOAD`.
    """

    def __init__(self) -> None:
        self._buffer = b""

    def feed(self, pieces: list[bytes]) -> list[bytes]:
        """Take pieces of the body and return the lines of the entries that are now whole, in the engine's order.

        Raises:
            EngineError: this is not a log stream, or the engine reports an error in it.
        """
        lines: list[bytes] = []
        for piece in pieces:
            # The usual case, in few steps: a piece is one frame, and that a whole line with a timestamp in UTC.
            if not self._buffer:
                middle = _WHOLE_LINE_HEADS.get(piece[:4])
                space = piece.find(b" ", _T_AT)
                if (
                    middle is not None
                    and space > 0
                    and int.from_bytes(piece[4:_FRAME_HEAD_BYTES], "big") == len(piece) - _FRAME_HEAD_BYTES
                    and piece.find(b"\n", _FRAME_HEAD_BYTES) == len(piece) - 1
                    and piece.startswith(b"Z", space - 1)
                    and piece.startswith(b"T", _T_AT)
                ):
                    lines.append(piece[_FRAME_HEAD_BYTES:space] + middle + piece[space + 1 :])
                    continue
            # Frames may also share a piece or be cut by pieces.
            data = self._buffer + piece if self._buffer else piece
            position, length = 0, len(data)
            while length - position >= _FRAME_HEAD_BYTES:
                size = int.from_bytes(data[position + 4 : position + _FRAME_HEAD_BYTES], "big")
                end = position + _FRAME_HEAD_BYTES + size
                if size > _LARGEST_FRAME_BYTES:
                    raise EngineError("The Docker engine sent something other than log frames")
                if length < end:
                    break
                name = _STREAM_NAMES.get(data[position])
                if name is None:
                    raise _bad_stream(data[position], data[position + _FRAME_HEAD_BYTES : end])
                entry = data[position + _FRAME_HEAD_BYTES : end]
                if 0 <= entry.find(b"\n") < size - 1:
                    lines += _landed_apart(name, entry)
                else:
                    lines.append(landed_line(name, entry))
                position = end
            self._buffer = data[position:]
        return lines


class TtyReader:
    """Reads the raw log stream of a container with a terminal: no frames, and all of it is stdout.

    Such a stream does not say where an entry ends (a line of more than 16 KiB has a timestamp in its middle), but the engine writes each
    entry with one call and so sends it in one HTTP chunk (seen with 20.10.24 and moby's api/server/httputils/write_log_stream.go).
    """

    def feed(self, pieces: list[bytes]) -> list[bytes]:
        """Take the chunks of the body and return the lines of their entries, in the engine's order.

        Raises:
            EngineError: a chunk does not begin with a timestamp.
        """
        return [line for piece in pieces for line in _landed_apart(b" stdout ", piece)]


def landed_line(stream: bytes, entry: bytes) -> bytes:
    """One log entry as a line of the landed file, in the CRI log format that kubelet writes.

    `TIMESTAMP stdout|stderr F|P PAYLOAD`, and a newline: tagged F where that newline is the entry's own, P where the entry had none.
    Format: https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md

    Args:
        stream: ` stdout ` or ` stderr `, with the spaces.
        entry: `TIMESTAMP SPACE PAYLOAD`, as the engine sends it.

    Raises:
        EngineError: the entry does not begin with a timestamp.
    """
    timestamp, _, payload = entry.partition(b" ")
    # Engines before 25.0 give those of the `local` driver in the daemon's time zone: https://github.com/moby/moby/issues/46910
    if timestamp[10:11] != b"T" or (timestamp[-1:] != b"Z" and timestamp[-6:-5] not in {b"+", b"-"}):
        raise EngineError(f"The Docker engine sent a log entry without a timestamp: {entry[:60]!r}")
    if payload[-1:] == b"\n":
        return timestamp + stream + b"F " + payload
    return timestamp + stream + b"P " + payload + b"\n"


def payload_of(line: bytes) -> bytes:
    """What the container wrote, from a landed line: the inverse of `landed_line`, without stream and timestamp."""
    _, _, tag, payload = line.split(b" ", 3)
    return payload if tag == b"F" else payload[:-1]


def _landed_apart(stream: bytes, entry: bytes) -> list[bytes]:
    """An entry as landed lines: several if it has a newline inside (the engine writes none, but one would tear the landed file)."""
    timestamp, space, payload = entry.partition(b" ")
    *lines, rest = payload.split(b"\n")
    return [
        landed_line(stream, timestamp + space + part)
        for part in [*(line + b"\n" for line in lines), *([rest] if rest or not lines else [])]
    ]


def _size_before_extensions(head: bytes) -> int:
    try:
        return int(head.split(b";", 1)[0], 16)
    except ValueError:
        raise _not_in_chunks() from None


def _not_in_chunks() -> EngineError:
    return EngineError("The Docker engine sent a body that is not in HTTP chunks")


def _bad_stream(number: int, payload: bytes) -> EngineError:
    if number == _STREAM_ERROR:
        return EngineError(f"The Docker engine broke off the log: {payload[:200].decode(errors='replace').strip()}")
    return EngineError("The Docker engine sent something other than log frames")
