"""What a Docker engine's answers mean, however they are cut and whatever is wrong with them."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_core.engine_api import (
    FrameReader,
    HttpReply,
    Message,
    TtyReader,
    landed_line,
    payload_of,
)
from iris_core.errors import EngineError

STAMP = b"2026-01-01T00:00:00.000000001Z"
CHUNKED = b"HTTP/1.1 200 OK\r\nApi-Version: 1.41\r\nTransfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def frame(payload: bytes, stream: int = 1, stamp: bytes = STAMP) -> bytes:
    entry = stamp + b" " + payload
    return bytes((stream, 0, 0, 0)) + len(entry).to_bytes(4, "big") + entry


def landed(payload: bytes, stream: bytes = b"stdout", stamp: bytes = STAMP) -> bytes:
    full = payload.endswith(b"\n")
    return b"%s %s %s %s" % (stamp, stream, b"F" if full else b"P", payload if full else payload + b"\n")


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


def read(answer: bytes, cuts: list[int] | None = None) -> tuple[HttpReply, bytes]:
    reply = HttpReply()
    body = b"".join(piece for data in pieces_of(answer, cuts or []) for piece in reply.feed(data))
    return reply, body


PAYLOADS = st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"."))
ENTRIES = st.lists(st.tuples(st.sampled_from([1, 2]), PAYLOADS, st.sampled_from([b"\n", b""])), max_size=8)
CUTS = st.lists(st.integers(0, 10_000), max_size=12)


class TestHttpReply:
    @given(ENTRIES, CUTS, CUTS)
    def test_a_log_reads_the_same_however_it_is_cut(
        self, entries: list[tuple[int, bytes, bytes]], chunk_cuts: list[int], cuts: list[int]
    ) -> None:
        """Frames cut into chunks anywhere, and chunks cut into reads anywhere, give the entries as lines, and the proof of the end."""
        frames = b"".join(frame(payload + end, stream) for stream, payload, end in entries)
        answer = CHUNKED + b"".join(map(chunk, pieces_of(frames, chunk_cuts) if frames else [])) + LAST
        reply, reader, lines = HttpReply(), FrameReader(), list[bytes]()
        for data in pieces_of(answer, cuts):
            assert not reply.complete
            lines += reader.feed(reply.feed(data))
        assert reply.complete
        assert lines == [landed(payload + end, (b"stdout", b"stderr")[s - 1]) for s, payload, end in entries]

    @given(ENTRIES, CUTS, st.integers(0, 10_000))
    def test_an_answer_that_breaks_off_is_never_complete(
        self, entries: list[tuple[int, bytes, bytes]], cuts: list[int], end: int
    ) -> None:
        """Only the last byte of the final chunk proves the end: what came before is a prefix of the lines, and no proof."""
        answer = CHUNKED + b"".join(chunk(frame(payload + end, stream)) for stream, payload, end in entries) + LAST
        reply, reader, lines = HttpReply(), FrameReader(), list[bytes]()
        for data in pieces_of(answer[: end % len(answer)], cuts):
            lines += reader.feed(reply.feed(data))
        assert not reply.complete
        whole = [landed(payload + end, (b"stdout", b"stderr")[s - 1]) for s, payload, end in entries]
        assert lines == whole[: len(lines)]

    @given(st.binary(max_size=300), CUTS)
    def test_a_body_with_a_length_ends_with_it(self, body: bytes, cuts: list[int]) -> None:
        """The announced length proves the end."""
        reply, got = read(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body) + body, cuts)
        assert (reply.status, got, reply.complete) == (404, body, True)

    def test_a_body_with_neither_is_never_complete(self) -> None:
        """A body that ends with the connection has no proof of its end."""
        reply, got = read(b"HTTP/1.1 200 OK\r\n\r\nabc", [3, 18, 20])
        assert (reply.status, got, reply.complete) == (200, b"abc", False)

    @pytest.mark.parametrize("between", [[], [30]])
    def test_an_interim_answer_is_passed_over(self, between: list[int]) -> None:
        """`100 Continue` is not the answer, together with it or apart."""
        reply, got = read(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", between)
        assert (reply.status, got, reply.complete) == (200, b"ok", True)

    @pytest.mark.parametrize(
        "answer",
        [
            CHUNKED + LAST + b"x",
            CHUNKED + chunk(b"abc") + LAST + CHUNKED,
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nabc",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nabc",
        ],
    )
    def test_bytes_after_the_end_are_an_error(self, answer: bytes) -> None:
        """Nothing was asked for yet: what comes cannot be an answer, in one piece or byte by byte."""
        with pytest.raises(EngineError, match=r"bytes after|more bytes"):
            read(answer)
        with pytest.raises(EngineError, match=r"bytes after|more bytes"):
            read(answer, list(range(len(answer))))

    @pytest.mark.parametrize(
        "body",
        [
            b"hello\r\nworld\r\n",
            b"x" * 70,
            b"3\r\nabcd\r\n",  # longer than its size
            b"-6\r\nabcdefgh\r\n",
            b"-2\r\n\r\n",
            b"ffffffffffff\r\n",  # more than there can be
            b"\r\n\r\n",
            b"0\r\nTrailer: x\r\n\r\n",
        ],
    )
    def test_a_body_that_is_not_in_chunks_is_an_error(self, body: bytes) -> None:
        """A size that cannot be is neither believed nor waited for."""
        with pytest.raises(EngineError, match="not in HTTP chunks"):
            read(CHUNKED + body)

    @pytest.mark.parametrize(
        "answer",
        [
            b"\0\1\2\3\xff\xfe garbage \r\n\r\n",
            b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n",
            b"docker: command not found\n\n",
            b"Last login: Mon\r\nHTTP/1.1 200 OK\r\n\r\n",
            b"HTTP/1.1 OK\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
            b"x" * 100_000,
        ],
    )
    def test_what_is_not_an_engine_is_told(self, answer: bytes) -> None:
        """A shell's greeting, another server, or noise is an error that shows how it begins."""
        with pytest.raises(EngineError, match="not a Docker engine"):
            read(answer)

    @given(st.binary(max_size=200), CUTS)
    def test_noise_is_refused_or_waited_out(self, noise: bytes, cuts: list[int]) -> None:
        """No bytes whatever raise anything but `EngineError`, before or in a body."""
        for head in (b"", CHUNKED):
            reply, reader = HttpReply(), FrameReader()
            try:
                for data in pieces_of(head + noise, cuts):
                    reader.feed(reply.feed(data))
            except EngineError:
                continue
            assert not reply.complete or noise.startswith((b"0", b"HTTP"))


class TestMessage:
    def refusal(self, body: bytes, status: int = 500) -> EngineError:
        message = Message(HttpReply())
        message.add(message.reply.feed(b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n" % (status, len(body)) + body))
        return message.problem()

    def test_a_refusal_is_in_the_engines_words(self) -> None:
        """The engine's message and the status come through."""
        error = self.refusal(b'{"message":"No such container: x"}', 404)
        assert error.status == 404
        assert str(error) == "The Docker engine answered 404: No such container: x"

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b'"text"', b"\xff\xfe", b"[" * 100_000])
    def test_a_refusal_without_a_message_is_one_all_the_same(self, body: bytes) -> None:
        """Whatever the body is, the status is told, and no more than a line of the body."""
        error = self.refusal(body)
        assert error.status == 500
        assert len(str(error)) < 300

    @pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"hello", b"[" * 100_000])
    def test_what_is_not_json_is_told(self, body: bytes) -> None:
        """A body that cannot be read is an `EngineError`, however deep it is nested."""
        message = Message(HttpReply())
        message.add([body])
        with pytest.raises(EngineError, match="not JSON"):
            message.json()

    def test_a_body_without_end_is_given_up(self) -> None:
        """A message is held in memory, so it may not grow for ever."""
        message = Message(HttpReply())
        with pytest.raises(EngineError, match="larger"):
            message.add([b"x" * 1_000_000] * 100)


class TestFrames:
    @given(st.binary(max_size=200).map(lambda data: data.replace(b"\n", b".")), st.sampled_from([b"\n", b"\r\n", b""]))
    def test_a_payload_survives_the_landed_line(self, payload: bytes, end: bytes) -> None:
        """`payload_of` gives back what the container wrote, byte for byte."""
        [line] = FrameReader().feed([frame(payload + end, 2)])
        assert line.startswith(STAMP + b" stderr ")
        assert line.count(b"\n") == 1
        assert payload_of(line) == payload + end

    @given(st.binary(max_size=60))
    def test_an_entry_of_several_lines_is_landed_as_several(self, payload: bytes) -> None:
        """A newline inside an entry would tear the landed file; split there, nothing of it is lost."""
        for lines in (FrameReader().feed([frame(payload)]), TtyReader().feed([STAMP + b" " + payload])):
            assert all(line.count(b"\n") == 1 and line.endswith(b"\n") for line in lines)
            assert b"".join(map(payload_of, lines)) == payload

    @pytest.mark.parametrize("stamp", [STAMP, b"2026-01-01T00:00:00.123456789+01:00", b"2026-01-01T00:00:00.1-09:30"])
    def test_a_local_timestamp_is_one(self, stamp: bytes) -> None:
        """Engines before 25.0 give the `local` driver's timestamps in the daemon's time zone (moby issue 46910)."""
        assert FrameReader().feed([frame(b"x\n", 1, stamp)]) == [landed(b"x\n", b"stdout", stamp)]

    @pytest.mark.parametrize("entry", [b"", b" ", b"no timestamp here\n", b"2026-01-01 x\n", b"hello\n", b"Z"])
    def test_an_entry_without_a_timestamp_is_an_error(self, entry: bytes) -> None:
        """It could not be landed so that it is found again."""
        with pytest.raises(EngineError, match="without a timestamp"):
            landed_line(b" stdout ", entry)

    def test_the_engines_own_error_in_the_log_is_told(self) -> None:
        """Stream 3 carries the daemon's error text."""
        text = b"error from daemon in stream: unexpected EOF\n"
        with pytest.raises(EngineError, match="broke off the log: error from daemon in stream: unexpected EOF"):
            FrameReader().feed([bytes((3, 0, 0, 0)) + len(text).to_bytes(4, "big") + text])

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
            FrameReader().feed([data])

    def test_a_terminals_chunks_are_its_entries(self) -> None:
        """One chunk, one entry, all of stdout; the rest of a long line is an entry of its own."""
        pieces = [STAMP + b" $ ls\r\n", STAMP + b" " + b"x" * 16384, STAMP + b" end\r\n"]
        assert TtyReader().feed(pieces) == [landed(b"$ ls\r\n"), landed(b"x" * 16384), landed(b"end\r\n")]

    def test_a_terminals_chunk_without_a_timestamp_is_an_error(self) -> None:
        """Chunks that are not entries cannot be landed."""
        with pytest.raises(EngineError, match="without a timestamp"):
            TtyReader().feed([b"half of a line\r\n"])
