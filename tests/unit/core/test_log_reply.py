"""What lands of a log, however the engine's bytes come and whatever is wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_core.errors import EngineError
from iris_core.log_lines import Lines, payload_of
from iris_core.log_reply import FrameReader, LogReply, TtyReader, usual_lines
from tests.unit.core.engine_bytes import CHUNKED, CUTS, LAST, STAMP, chunk, frame, landed, pieces_of

PAYLOADS = st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"."))
ENTRIES = st.lists(st.tuples(st.sampled_from([1, 2]), PAYLOADS, st.sampled_from([b"\n", b""])), max_size=8)
USUAL_FRAME = frame(b"one\n")
USUAL = chunk(USUAL_FRAME) + chunk(frame(b"two\r\n", 2)) + chunk(frame(b"\n"))
ERROR_TEXT = b"Error grabbing logs: invalid character '\\x00' looking for beginning of value\n"
ERROR = bytes((3, 0, 0, 0)) + len(ERROR_TEXT).to_bytes(4, "big") + ERROR_TEXT
USUAL_LANDED = [landed(b"one\n"), landed(b"two\r\n", b"stderr"), landed(b"\n")]


def read(answer: bytes, cuts: list[int] | None = None, *, tty: bool = False) -> tuple[list[bytes], bool]:
    """The landed lines, and whether the answer is complete."""
    reply, lines = LogReply(tty=tty), list[bytes]()
    for data in pieces_of(answer, cuts or []):
        more = reply.feed(data)
        assert len(more.apart()) == more.count
        lines += more.apart()
    if reply.complete:
        reply.check()
    return lines, reply.complete


class TestLogReply:
    @given(ENTRIES, CUTS, CUTS)
    def test_a_log_reads_the_same_however_it_is_cut(
        self, entries: list[tuple[int, bytes, bytes]], chunk_cuts: list[int], cuts: list[int]
    ) -> None:
        """Frames cut into chunks anywhere, and chunks cut into reads anywhere, give the entries as lines, and the proof of the end."""
        frames = b"".join(frame(payload + end, stream) for stream, payload, end in entries)
        answer = CHUNKED + b"".join(map(chunk, pieces_of(frames, chunk_cuts))) + LAST
        expected = [landed(payload + end, (b"stdout", b"stderr")[s - 1]) for s, payload, end in entries]
        assert read(answer, cuts) == (expected, True)

    def test_what_is_unusual_lands_in_its_place(self) -> None:
        """Between usual lines, which are read on another way: before it and after it."""
        answer = CHUNKED
        expected = []
        for odd, odd_landed in (
            (chunk(frame(b"part")), [landed(b"part")]),
            (chunk(frame(b"in\nside\n")), [landed(b"in\n"), landed(b"side\n")]),
            (chunk(frame(b"x\n", 1, b"2026-01-01T00:00:00Z")), [landed(b"x\n", b"stdout", b"2026-01-01T00:00:00Z")]),
            (chunk(frame(b"a\n") + frame(b"b\n")), [landed(b"a\n"), landed(b"b\n")]),
            (
                b"".join(map(chunk, pieces_of(frame(b"a frame in chunks\n"), [3, 20, 50]))),
                [landed(b"a frame in chunks\n")],
            ),
            (
                chunk(frame(b"a part" + USUAL_FRAME)[: -len(USUAL_FRAME)]) + chunk(USUAL_FRAME),
                [landed(b"a part" + USUAL_FRAME)],
            ),
            (chunk(frame(b"ext\n")).replace(b"\r\n", b";ext=\r\n", 1), [landed(b"ext\n")]),
            (b"0" + chunk(frame(b"zero\n")), [landed(b"zero\n")]),
            (chunk(frame(b"x" * 16_384)), [landed(b"x" * 16_384)]),
        ):
            answer += USUAL + odd
            expected += USUAL_LANDED + odd_landed
        assert read(answer + USUAL + LAST) == (expected + USUAL_LANDED, True)
        assert read(answer + USUAL + LAST, list(range(0, len(answer), 7))) == (expected + USUAL_LANDED, True)

    def test_a_refusal_is_none_of_the_log(self) -> None:
        """In chunks or not, it lands nothing, and is told when it is whole."""
        text = b'{"message":"No such container: x"}'
        head = b"HTTP/1.1 404 Not Found\r\n"
        for answer in (
            head + b"Content-Length: %d\r\n\r\n" % len(text) + text,
            head + b"Transfer-Encoding: chunked\r\n\r\n" + chunk(text) + LAST,
        ):
            reply = LogReply(tty=False)
            assert reply.feed(answer) == Lines(b"", 0)
            assert reply.complete
            with pytest.raises(EngineError, match="answered 404: No such container"):
                reply.check()

    @pytest.mark.parametrize("together", [False, True])
    def test_the_lines_before_an_error_land(self, *, together: bool) -> None:
        """The answer is over with them; what is told is the engine's error, not what follows it."""
        log = USUAL + (chunk(frame(b"a\n") + ERROR) if together else chunk(frame(b"a\n")) + chunk(ERROR)) + USUAL
        reply = LogReply(tty=False)
        assert reply.feed(CHUNKED + log) == Lines.of([*USUAL_LANDED, landed(b"a\n")])
        assert reply.complete
        with pytest.raises(EngineError, match="broke off the log: Error grabbing logs"):
            reply.check()

    def test_a_log_that_is_not_in_chunks_is_read_too(self) -> None:
        """As frames; its end is not proven."""
        assert read(b"HTTP/1.1 200 OK\r\n\r\n" + frame(b"a\n") + frame(b"b"), [30, 40]) == (
            [landed(b"a\n"), landed(b"b")],
            False,
        )

    def test_a_terminals_chunks_are_its_entries(self) -> None:
        """One chunk, one entry, all of stdout; the rest of a long line is an entry of its own."""
        pieces = [STAMP + b" $ ls\r\n", STAMP + b" " + b"x" * 16384, STAMP + b" end\r\n"]
        expected = [landed(b"$ ls\r\n"), landed(b"x" * 16384), landed(b"end\r\n")]
        assert read(CHUNKED + b"".join(map(chunk, pieces)) + LAST, tty=True) == (expected, True)

    def test_a_terminal_that_prints_frames_has_them_landed(self) -> None:
        """What looks like a frame in a log without frames is no timestamp."""
        with pytest.raises(EngineError, match="without a timestamp"):
            read(CHUNKED + chunk(frame(b"x\n")), tty=True)


class TestUsualLines:
    def test_usual_chunks_are_read_to_where_they_end(self) -> None:
        """Of both streams, of any length in which they come; the beginning of one more is left."""
        sizes = [0, 1, 176, 177, 178, 216, 217, 4000, 4055, 4056, 4057, 4058, 16_383]
        payloads = [b"x" * size + b"\n" for size in sizes]
        data = b"".join(chunk(frame(payload, 1 + size % 2)) for size, payload in zip(sizes, payloads, strict=True))
        names = (b"stdout", b"stderr")
        expected = Lines.of([landed(p, names[s % 2]) for s, p in zip(sizes, payloads, strict=True)])
        assert usual_lines(b"before" + data + chunk(frame(b"cut\n"))[:-1], 6) == (expected, 6 + len(data))

    def test_a_size_that_is_not_the_frames_is_left(self) -> None:
        """The chunk's must be the frame's, and its end there."""
        data = frame(b"a line\n")
        for size in range(len(data) + 20):
            usual = size == len(data)
            assert usual_lines(b"%x\r\n%s\r\n%s" % (size, data, LAST), 0) == (
                Lines.of([landed(b"a line\n")] if usual else []),
                len(chunk(data)) if usual else 0,
            )

    def test_a_frames_size_that_is_not_the_lines_is_left(self) -> None:
        """Also where the chunk's is in accord with it."""
        entry = STAMP + b" a line\n"
        for size in range(len(entry) + 20):
            data = b"%x\r\n\x01\0\0\0%s%s\r\n" % (size + 8, size.to_bytes(4, "big"), entry)
            usual = size == len(entry)
            assert usual_lines(data + USUAL, 0) == (
                Lines.of([landed(b"a line\n"), *USUAL_LANDED] if usual else []),
                len(data + USUAL) if usual else 0,
            )

    @pytest.mark.parametrize(
        "odd",
        [
            frame(b"part"),
            frame(b"a\nb\n"),
            frame(b"\n\n"),
            frame(b"x\n", 1, b"2026-01-01T00:00:00.1234567+01:00"),
            frame(b"x\n", 1, b"2026-01-01T00:00:00.12345678Z"),
            frame(b"x\n", 1, b"2026-01-01 00:00:00.123456789Z"),
            frame(b"x\n", 1, b"2026-01-01T00Z00:00.123456789 "),
            frame(b"x\n", 1, b"2026-01-01T00Z 0:00.123456789Z"),
            frame(b"x\n", 1, b"2026-01-01T00:00:00.123456\n89Z"),
            frame(b"x\n", 1, b"2026-01-010T00:00:00.12345678Z"),
        ],
    )
    def test_an_odd_line_is_left_to_who_reads_anything(self, odd: bytes) -> None:
        """Its stamp is not one in UTC with nanoseconds, or it is several lines or none: what is before it is read."""
        assert usual_lines(USUAL + chunk(odd) + USUAL, 0) == (Lines.of(USUAL_LANDED), len(USUAL))

    @pytest.mark.parametrize(
        "data",
        [
            b"",
            b"\n",
            chunk(frame(b"")),
            chunk(frame(b"x\n", 3)),
            chunk(b"\x01\0\0\1" + frame(b"x\n")[4:]),
            b"0" + chunk(frame(b"x\n")),
            b"2F" + chunk(frame(b"x" * 7 + b"\n"))[2:],
            chunk(frame(b"x\n")[:-1]),
            chunk(frame(b"x\n"))[:-2] + LAST,
            LAST,
        ],
    )
    def test_what_does_not_begin_usually_is_left(self, data: bytes) -> None:
        """Untouched."""
        assert usual_lines(data, 0) == (Lines(b"", 0), 0)


class TestFrames:
    def test_frames_may_share_a_piece_or_be_cut_by_pieces(self) -> None:
        """What has come of the next one is kept."""
        reader = FrameReader()
        both = frame(b"a\n") + frame(b"b\n", 2)
        assert reader.read(both[:-1]) == [landed(b"a\n")]
        assert reader.rest == frame(b"b\n", 2)[:-1]
        assert reader.read(b"\n") == [landed(b"b\n", b"stderr")]
        assert reader.rest == b""

    def test_the_engines_own_error_in_the_log_is_told(self) -> None:
        """Stream 3 carries the daemon's error text."""
        text = b"error from daemon in stream: unexpected EOF\n"
        with pytest.raises(EngineError, match="broke off the log: error from daemon in stream: unexpected EOF"):
            FrameReader().read(bytes((3, 0, 0, 0)) + len(text).to_bytes(4, "big") + text)

    @pytest.mark.parametrize(
        "data",
        [
            bytes((0, 0, 0, 0)) + (1).to_bytes(4, "big") + b"x",
            bytes((9, 0, 0, 0)) + (1).to_bytes(4, "big") + b"x",
            b"2026-01-01T00:00:00Z hello\n",  # a terminal's log is not framed
            b"\x01\0\0\0\xff\xff\xff\xff",
        ],
    )
    def test_what_are_no_frames_is_told(self, data: bytes) -> None:
        """Bytes that are not a log are neither landed nor waited for."""
        with pytest.raises(EngineError, match="other than log frames"):
            FrameReader().read(data)

    @given(st.binary(max_size=60))
    def test_a_terminals_entry_of_several_lines_is_landed_as_several(self, payload: bytes) -> None:
        """As one with a frame is."""
        lines = TtyReader().read(STAMP + b" " + payload)
        assert lines == FrameReader().read(frame(payload))
        assert b"".join(map(payload_of, lines)) == payload
