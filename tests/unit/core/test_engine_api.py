"""What a Docker engine's answers mean, however they are cut and whatever is wrong with them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_core.engine_api import HttpReply, Message
from iris_core.errors import EngineError
from tests.unit.core.engine_bytes import CHUNKED, CUTS, LAST, chunk, pieces_of


def read(answer: bytes, cuts: list[int] | None = None) -> tuple[HttpReply, bytes]:
    reply = HttpReply()
    body = b"".join(piece for data in pieces_of(answer, cuts or []) for piece in reply.feed(data))
    return reply, body


class TestHttpReply:
    @given(st.binary(max_size=300), CUTS, CUTS)
    def test_a_body_in_chunks_reads_the_same_however_it_is_cut(
        self, body: bytes, chunk_cuts: list[int], cuts: list[int]
    ) -> None:
        """A body cut into chunks anywhere, and those into reads anywhere, comes out chunk by chunk, with the proof of its end."""
        chunks = pieces_of(body, chunk_cuts)
        reply, pieces = HttpReply(), list[bytes]()
        for data in pieces_of(CHUNKED + b"".join(map(chunk, chunks)) + LAST, cuts):
            assert not reply.complete
            pieces += reply.feed(data)
        assert reply.complete
        assert pieces == chunks

    @given(st.lists(st.binary(min_size=1, max_size=50)), CUTS, st.integers(0, 10_000))
    def test_an_answer_that_breaks_off_is_never_complete(self, chunks: list[bytes], cuts: list[int], end: int) -> None:
        """Only the last byte of the final chunk proves the end: what came before are the first chunks, and no proof."""
        answer = CHUNKED + b"".join(map(chunk, chunks)) + LAST
        reply, pieces = HttpReply(), list[bytes]()
        for data in pieces_of(answer[: end % len(answer)], cuts):
            pieces += reply.feed(data)
        assert not reply.complete
        assert pieces == chunks[: len(pieces)]

    @pytest.mark.parametrize("head", [b"3", b"03", b"3;a=b", b"3 ;a", b"3;"])
    def test_a_chunk_may_be_told_in_other_ways(self, head: bytes) -> None:
        """Extensions and zeros mean nothing."""
        reply, got = read(CHUNKED + head + b"\r\nabc\r\n" + LAST)
        assert (got, reply.complete) == (b"abc", True)

    @given(st.binary(max_size=300), CUTS)
    def test_a_body_with_a_length_ends_with_it(self, body: bytes, cuts: list[int]) -> None:
        """The announced length proves the end."""
        reply, got = read(b"HTTP/1.1 404 Not Found\r\nContent-Length: %d\r\n\r\n" % len(body) + body, cuts)
        assert (reply.status, got, reply.complete) == (404, body, True)

    @pytest.mark.parametrize("cuts", [[], [20], [40]])
    def test_a_head_with_bare_newlines_leaves_the_body_whole(self, cuts: list[int]) -> None:
        """Where the head ends, and not where its usual end is met in the body."""
        reply, got = read(b"HTTP/1.1 200 OK\nContent-Length: 8\n\nab\r\n\r\ncd", cuts)
        assert (reply.status, got, reply.complete) == (200, b"ab\r\n\r\ncd", True)

    def test_answers_with_the_same_head_have_each_their_own_body(self) -> None:
        """A head that was read before is only looked up; how much of the body has come is not shared."""
        head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
        first, second = HttpReply(), HttpReply()
        assert first.feed(head + b"a") == [b"a"]
        assert second.feed(head + b"cd") == [b"cd"]
        assert (first.complete, second.complete) == (False, True)
        assert first.feed(b"b") == [b"b"]
        assert first.complete

    @pytest.mark.parametrize(
        ("line", "date"),
        [
            (b"Date: Wed, 25 Nov 2026 14:47:55 GMT", 1_795_618_075),
            (b"Date: yesterday", None),
            (b"Date: Mon, 01 Jan 99999999999999999999 00:00:00 GMT", None),
            (b"Date: \xff", None),
            (b"Server: Docker", None),
        ],
    )
    def test_the_date_is_the_engines(self, line: bytes, date: int | None) -> None:
        """In whole seconds; where it says none that can be read, none."""
        reply, _ = read(b"HTTP/1.1 200 OK\r\n" + line + b"\r\nContent-Length: 0\r\n\r\n")
        assert reply.date == date

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
            b"+6\r\nabcdef\r\n",
            b"0x6\r\nabcdef\r\n",
            b"0_6\r\nabcdef\r\n",
            b";6\r\nabcdef\r\n",
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
            reply = HttpReply()
            try:
                for data in pieces_of(head + noise, cuts):
                    reply.feed(data)
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

    def test_a_refusal_is_never_longer_than_can_be_told(self) -> None:
        """It becomes a part of an event and of a line in a log."""
        assert 500 < len(str(self.refusal(b'{"message":"' + b"no " * 100_000 + b'"}'))) < 1500

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
