"""`LogReply` against a reader of the same bytes that is plain and slow: h11 for the chunks, and frames and lines one by one."""

from __future__ import annotations

import os
import re
import struct
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import h11
from hypothesis import given, settings
from hypothesis import strategies as st

from iris_core.errors import EngineError
from iris_core.log_reply import LogReply
from tests.unit.core.engine_bytes import CHUNKED, CUTS, LAST, STAMP, chunk, frame, pieces_of

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES: Final = int(os.environ.get("IRIS_HISTORIES", "60"))
STREAMS: Final = {1: b"stdout", 2: b"stderr"}


class Landed(NamedTuple):
    """What has come of an answer: lines, and whether it is complete, or wrong."""

    lines: list[bytes]
    complete: bool = False
    wrong: bool = False


class WrongError(Exception):
    """The answer is not a log."""


def by_the_book(answer: bytes) -> Landed:
    """All that an answer lands, as far as it has come; where it is wrong, up to there."""
    lines: list[bytes] = []
    chunks, complete, wrong = chunks_by_h11(answer)
    try:
        for stream, entry in entries(b"".join(chunks)):
            lines += lines_of(STREAMS[stream], entry)
    except WrongError:
        wrong = True
    return Landed(lines, complete and not wrong, wrong)


def chunks_by_h11(answer: bytes) -> tuple[list[bytes], bool, bool]:
    """The chunks that have come, whether the last one has, and whether something is wrong after them."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "docker")]))
    connection.send(h11.EndOfMessage())
    chunks, parts = list[bytes](), list[bytes]()
    complete = False
    try:
        # h11 gives a chunk before the two bytes after it have come: those count that it gives for all but the last two.
        for data, counts in ((answer[:-2], True), (answer[-2:], False)):
            if not data:
                continue  # to h11 it would be the connection's end
            connection.receive_data(data)
            while not complete and (event := connection.next_event()) is not h11.NEED_DATA:
                complete = isinstance(event, h11.EndOfMessage)
                if isinstance(event, h11.Data):
                    parts.append(bytes(event.data))
                    if event.chunk_end and counts:
                        chunks.append(b"".join(parts))
                        parts.clear()
    except h11.RemoteProtocolError:
        return chunks, False, True
    return chunks, complete, complete and connection.trailing_data[0] != b""


def entries(body: bytes) -> Iterator[tuple[int, bytes]]:
    """The frames of a body: stream and entry of each."""
    while len(body) >= 8:
        stream, size = struct.unpack(">BxxxI", body[:8])
        if size > 16 * 1024 * 1024:
            raise WrongError
        if len(body) < 8 + size:
            return
        if stream not in STREAMS:
            raise WrongError
        yield stream, body[8 : 8 + size]
        body = body[8 + size :]


def lines_of(stream: bytes, entry: bytes) -> Iterator[bytes]:
    """An entry as it is to land."""
    stamp, _, payload = entry.partition(b" ")
    if re.fullmatch(rb"[\d-]{10}T[\d:]{8}(\.\d+)?[+-]\d\d:\d\d", stamp):
        try:
            moment = datetime.fromisoformat((stamp[:19] + stamp[-6:]).decode()).astimezone(UTC)
        except (ValueError, OverflowError):
            raise WrongError from None
        stamp = moment.strftime("%Y-%m-%dT%H:%M:%S").encode() + stamp[19:-6] + b"Z"
    elif not re.fullmatch(rb"[^\n]{10}T[^\n]*Z", stamp):
        raise WrongError
    for line in re.findall(rb"[^\n]*\n|[^\n]+", payload) or [b""]:
        tag, end = (b"F", b"") if line.endswith(b"\n") else (b"P", b"\n")
        yield b" ".join((stamp, stream, tag, line)) + end


def by_iris(answer: bytes, cuts: list[int]) -> Iterator[tuple[bytes, Landed]]:
    """After each read: what had come of the answer, and what `LogReply` had landed. It ends where something is wrong."""
    reply, come, lines = LogReply(tty=False), b"", list[bytes]()
    for data in pieces_of(answer, cuts):
        come += data
        try:
            more = reply.feed(data)
            assert more.data.count(b"\n") == more.count
            lines = lines + more.apart()
            if reply.complete:
                reply.check()
        except EngineError:
            yield come, Landed(lines, wrong=True)
            return
        yield come, Landed(lines, reply.complete)


# What a log may hold: much that looks like chunks, frames and their ends.
FORGED_FRAME = frame(b"forged\n")
FORGED = (chunk(FORGED_FRAME), chunk(FORGED_FRAME)[2:], FORGED_FRAME, b"\x01\0\0\0", b"x" * 200, b"\n")
WORDS = st.sampled_from(
    [
        *FORGED,
        b"\r",
        b"\r\n",
        b"\n\r\n",
        b"\r\n\r\n",
        b"\0",
        b" ",
        b"Z ",
        b"7f\r\n",
        b"0\r\n\r\n",
        b"\xff\xfe",
        STAMP + b" ",
    ]
)
ONE_LINE = st.lists(WORDS | st.binary(max_size=20), max_size=4).map(lambda words: b"".join(words).replace(b"\n", b""))
LONG = st.sampled_from([10, 176, 177, 178, 216, 217, 233, 234, 235, 4056, 4057, 16_383, 16_384]).map(lambda n: b"y" * n)
USUAL = st.builds(frame, (ONE_LINE | LONG).map(lambda text: text + b"\n"), st.sampled_from([1, 2]))
STAMPS = st.sampled_from(
    [
        STAMP,
        b"2026-01-01T00:00:00Z",
        b"2026-01-01T00:00:00.123456789+01:00",
        b"2026-01-01T00:00:00.1234567-09:30",
        b"2026-01-01T00Z 0:00.123456789Z",  # ends at the space
    ]
)
ODD = st.builds(
    lambda words, end, stream, stamp: frame(b"".join(words) + end, stream, stamp),
    st.lists(WORDS | st.binary(max_size=20), max_size=4),
    st.sampled_from([b"\n", b""]),
    st.sampled_from([1, 2]),
    STAMPS,
)
WRONG = st.sampled_from(
    [
        frame(b"error\n", 3),
        frame(b"x\n", 1, b"no stamp"),
        frame(b"x\n", 2, b"2026-01-01 T00:00:00.12345678Z"),
        frame(b"x\n", 2, b"2026-01-01:00:00:00.123456789Z"),
        frame(b"x\n", 2, b"2026-01-01T00\n:00:00.12345678Z"),
        b"\xff" * 8,
    ]
)
CHUNK_HEADS = st.sampled_from([b"%x;ext=1\r\n", b"%X\r\n", b"0%x\r\n", b"%x \r\n"])


@st.composite
def chunks_of(draw: st.DrawFn, frames: st.SearchStrategy[bytes]) -> bytes:
    """Some of a log's chunks: most often one, that is a frame."""
    match draw(st.sampled_from(["usual", "usual", "usual", "usual", "head", "shared", "cut", "forged"])):
        case "head":
            data = draw(frames)
            return draw(CHUNK_HEADS) % len(data) + data + b"\r\n"
        case "shared":
            return chunk(b"".join(draw(st.lists(frames, min_size=2, max_size=3))))
        case "cut":
            return b"".join(map(chunk, pieces_of(draw(frames), draw(CUTS))))
        case "forged":  # a chunk inside of a frame looks like a frame
            whole = frame(draw(ONE_LINE) + FORGED_FRAME)
            return chunk(whole[: -len(FORGED_FRAME)]) + chunk(FORGED_FRAME)
        case _:
            return chunk(draw(frames))


LOGS = st.lists(chunks_of(USUAL) | chunks_of(USUAL) | chunks_of(ODD), max_size=12).map(b"".join)


ENDS = st.sampled_from([LAST, b"", LAST + b"x"]) | chunks_of(WRONG)


@settings(max_examples=EXAMPLES)
@given(LOGS, ENDS, CUTS)
def test_a_log_lands_as_by_the_book(log: bytes, end: bytes, cuts: list[int]) -> None:
    """Whatever its lines hold, and however it is cut: the same lines, up to an error; the same proof of the end."""
    for come, got in by_iris(CHUNKED + log + end, cuts):
        expected = by_the_book(come)
        assert got == expected


GARBLINGS = st.lists(
    st.tuples(
        st.integers(0, 10_000),
        st.integers(-2, 3),
        st.integers(0, 2),
        st.sampled_from([bytes([byte]) for byte in b"0123456789abcdef_ \r\n\0\1\2;xTZ+"] + [b"", b"\r\n", b"\n\r\n"]),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=EXAMPLES)
@given(LOGS, GARBLINGS, CUTS)
def test_what_is_garbled_is_told_or_lands_as_by_the_book(
    log: bytes, garblings: list[tuple[int, int, int, bytes]], cuts: list[int]
) -> None:
    """Bytes changed, lost or added: never is anything else landed in silence, nor an end proven that is not."""
    for at, shift, lost, put in garblings:
        ends = [match.start() for match in re.finditer(b"\r\n", log)] if at % 2 else []  # where it matters most
        place = max(0, ends[at % len(ends)] + shift) if ends else at % (len(log) + 1)
        log = log[:place] + put + log[place + lost :]
    for come, got in by_iris(CHUNKED + log + LAST, cuts):
        expected = by_the_book(come)
        assert got.wrong or got.complete == expected.complete
        assert got.wrong or got.lines == (expected.lines[: len(got.lines)] if expected.wrong else expected.lines)
