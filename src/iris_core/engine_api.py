"""What a Docker engine answers: bytes in, values out. Pure.

The head of an answer is read by h11. The body is not: the engine sends one HTTP chunk per log entry, 170,000 a second where it can, and
h11 takes several microseconds for a chunk, which would be most of a core (`just bench-parts` measures both).
"""

from __future__ import annotations

import json
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final, NamedTuple

import h11

from iris_core.errors import EngineError

_LONGEST_CHUNK_HEAD: Final = 64  # hex digits and extensions; the engine sends fewer than ten
_LARGEST_MESSAGE_BYTES: Final = 16 * 1024 * 1024  # of an answer that is read whole (inspect, list)
_MOST_QUOTED: Final = 1000  # of what it says where it refuses something
_HEX_DIGITS: Final = b"0123456789abcdefABCDEF"
_REQUEST: Final = h11.Request(
    method="GET", target="/", headers=[("Host", "docker")]
)  # made once: to check it takes 100 µs
_REQUEST_END: Final = h11.EndOfMessage()
_HEAD_END: Final = b"\r\n\r\n"


class HttpReply:
    """One HTTP/1.1 answer, read as its bytes come.

    Attributes:
        status: the HTTP status, 0 until the head is complete.
        date: when the engine began to answer, in whole seconds of its own clock since the epoch; None: it did not say.
        chunked: whether the body comes in chunks.
        complete: whether the whole body has come, proven by its final chunk or its length. A connection that ends before proves nothing.
        unread: what has come of the body, and is taken out piece by piece: with `next_piece`, or by who reads chunks itself.
        position: in `unread`, of what has not been taken out yet: where a chunk begins, if it is chunked.
    """

    __slots__ = ("_h11", "_left", "chunked", "complete", "date", "position", "status", "unread")

    def __init__(self) -> None:
        self.status = 0
        self.date: int | None = None
        self.chunked = False
        self.complete = False
        self.unread = b""
        self.position = 0
        self._h11: h11.Connection | None = None  # made only for a head that does not come whole: it takes 6 KB
        self._left: int | None = None  # of a body with a length

    def feed(self, data: bytes) -> list[bytes]:
        """Take bytes of the connection and return the pieces of the body that are now whole, in order: `receive` and `pieces`."""
        self.receive(data)
        return self.pieces()

    def receive(self, data: bytes) -> None:
        """Take bytes of the connection.

        Raises:
            EngineError: this is not the answer of an engine.
        """
        if not self.status:
            data = self._read_head(data)
        if self.complete and data:
            raise EngineError("The Docker engine sent bytes after the end of its answer")
        self.unread = self.unread + data if self.unread else data

    def pieces(self) -> list[bytes]:
        """All pieces of the body that are now whole.

        Raises:
            EngineError: as `next_piece`.
        """
        return list(iter(self.next_piece, None))

    def next_piece(self) -> bytes | None:
        """The next piece of the body, a chunk where it is chunked; None while it is not whole.

        Raises:
            EngineError: this is not the answer of an engine.
        """
        if self.position == len(self.unread):
            self.unread, self.position = b"", 0
            return None
        return self._next_chunk() if self.chunked else self._next_unchunked()

    def _next_chunk(self) -> bytes | None:
        data, position = self.unread, self.position
        head_end = data.find(b"\r\n", position, position + _LONGEST_CHUNK_HEAD)
        if head_end < 0:
            if len(data) - position >= _LONGEST_CHUNK_HEAD:
                raise _not_in_chunks()
            self._keep_unread()
            return None
        digits = data[position:head_end]
        if not digits or digits.strip(_HEX_DIGITS):
            digits = _without_extensions(digits)
        size = int(digits, 16)
        if size > _LARGEST_MESSAGE_BYTES:
            raise _not_in_chunks()
        begin = head_end + 2
        end = begin + size
        if len(data) < end + 2:
            self._keep_unread()
            return None
        if not data.startswith(b"\r\n", end):
            raise _not_in_chunks()
        self.position = end + 2
        if size:
            return data[begin:end]
        self.complete = True
        if len(data) > self.position:
            raise EngineError("The Docker engine sent bytes after the end of its answer")
        self._keep_unread()
        return None

    def _keep_unread(self) -> None:
        """Keep the rest, and nothing else, until more has come."""
        self.unread = self.unread[self.position :]
        self.position = 0

    def _next_unchunked(self) -> bytes:
        data, self.unread = self.unread, b""
        if self._left is not None:
            if len(data) > self._left:
                raise EngineError("The Docker engine sent more bytes than it had announced")
            self._left -= len(data)
            self.complete = self._left == 0
        return data  # without a length it goes on until the connection ends, which proves nothing

    def _read_head(self, data: bytes) -> bytes:
        if self._h11 is None:
            head, end, rest = data.partition(_HEAD_END)
            if end and (known := _read_whole_head(head + end)) is not None:
                self._take_head(known)
                return rest
            self._h11 = _parser()
        event = _next_answer(self._h11, data)
        if event is None:
            return b""
        self._take_head(_head_of(event))
        rest, _ = self._h11.trailing_data
        self._h11 = None
        return rest

    def _take_head(self, head: _Head) -> None:
        self.status, self.chunked, self._left, self.date = head
        self.complete = self._left == 0


class _Head(NamedTuple):
    """What matters of an answer's head: its status, whether its body comes in chunks, else how many bytes it announces, and its date."""

    status: int
    chunked: bool
    length: int | None
    date: int | None


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
            text = str(value["message"])[:_MOST_QUOTED]
        except (ValueError, KeyError, TypeError, RecursionError):
            text = bytes(self._body[:200]).decode(errors="replace").strip()
        return EngineError(f"The Docker engine answered {self.reply.status}: {text}", status=self.reply.status)


# Many hosts answer alike within a second, which is what their `Date` says: 1,000 that open need few.
@lru_cache(maxsize=64)
def _read_whole_head(head: bytes) -> _Head | None:
    """Read a head that came whole; None: it is not the only one (`100 Continue`), or ended before (h11 takes bare newlines, too)."""
    parser = _parser()
    event = _next_answer(parser, head)
    return None if event is None or parser.trailing_data[0] else _head_of(event)


def _parser() -> h11.Connection:
    parser = h11.Connection(h11.CLIENT)
    parser.send(_REQUEST)
    parser.send(_REQUEST_END)
    return parser


def _next_answer(parser: h11.Connection, data: bytes) -> h11.Response | None:
    try:
        parser.receive_data(data)
        while isinstance(event := parser.next_event(), h11.InformationalResponse):
            pass  # `100 Continue` and the like are not the answer
    except h11.RemoteProtocolError as error:
        raise EngineError(f"What answers is not a Docker engine: {error}; it sent {bytes(data[:80])!r}") from error
    return event if isinstance(event, h11.Response) else None


def _head_of(answer: h11.Response) -> _Head:
    headers = {bytes(name): bytes(value) for name, value in answer.headers}
    chunked = headers.get(b"transfer-encoding", b"").lower() == b"chunked"
    length = None if chunked or b"content-length" not in headers else int(headers[b"content-length"])
    return _Head(answer.status_code, chunked, length, _seconds_of(headers.get(b"date", b"")))


def _seconds_of(date: bytes) -> int | None:
    try:
        return int(parsedate_to_datetime(date.decode("ascii")).timestamp())
    except (ValueError, OverflowError):  # a year of twenty digits, say
        return None


def _without_extensions(head: bytes) -> bytes:
    digits = head.split(b";", 1)[0].rstrip(b" \t")
    if not digits or digits.strip(_HEX_DIGITS):  # int() would take signs, spaces and underscores
        raise _not_in_chunks()
    return digits


def _not_in_chunks() -> EngineError:
    return EngineError("The Docker engine sent a body that is not in HTTP chunks")
