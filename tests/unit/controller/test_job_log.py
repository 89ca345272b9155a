from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from iris_adapters.controller.job_log import JobLog, LineAssembler


def lines_of(*pieces: bytes, most_line_bytes: int = 65536) -> list[str]:
    assembler = LineAssembler(most_line_bytes)
    return [line for piece in pieces for line in assembler.feed(piece)] + assembler.end()


def test_lines_are_put_together_from_pieces() -> None:
    """A line that comes in pieces is one line, and an empty line is a line."""
    assert lines_of(b"he", b"llo\n\nwo", b"rld\n") == ["hello", "", "world"]


def test_a_last_line_without_end_is_a_line() -> None:
    """What follows the last line end is handed over at the end."""
    assert lines_of(b"a\nb") == ["a", "b"]


def test_what_is_not_utf8_is_replaced() -> None:
    """A stray byte becomes U+FFFD and the rest of its line stays."""
    assert lines_of(b"a\xffb\n") == ["a\ufffdb"]


def test_a_character_cut_between_pieces_is_whole() -> None:
    """A multi-byte character that arrives in two reads is decoded once, whole."""
    assert lines_of(b"\xe2\x82", b"\xac\n") == ["\u20ac"]


def test_a_very_long_line_is_cut() -> None:
    """A line longer than the limit becomes several, none longer than it."""
    assert lines_of(b"x" * 25 + b"\n", most_line_bytes=10) == ["x" * 10, "x" * 10, "x" * 5]


def test_a_long_line_is_not_cut_inside_a_character() -> None:
    """The cut moves back to the beginning of a character."""
    assert lines_of("€€€€\n".encode(), most_line_bytes=10) == ["€€€", "€"]


def test_only_a_newline_ends_a_line() -> None:
    """Carriage returns, form feeds and Unicode's own separators stay inside their line."""
    assert lines_of("a\rb\x0cc\u2028d\n".encode()) == ["a\rb\x0cc\u2028d"]


@given(st.binary(max_size=200), st.lists(st.integers(0, 200)), st.integers(4, 50))
def test_pieces_do_not_matter(data: bytes, cuts: list[int], most_line_bytes: int) -> None:
    """However a stream is cut into pieces, the same lines come out, and none is longer than allowed."""
    edges = [0, *sorted(cuts), len(data)]
    pieces = [data[start:end] for start, end in itertools.pairwise(edges)]

    lines = lines_of(*pieces, most_line_bytes=most_line_bytes)

    assert lines == lines_of(data, most_line_bytes=most_line_bytes)
    if data.isascii():
        assert all(len(line) <= most_line_bytes for line in lines)
        assert "".join(lines) == data.replace(b"\n", b"").decode()


def read_all(log: JobLog, position: int = 0) -> tuple[str, int]:
    text = ""
    while True:
        piece, position = log.read(position)
        if not piece:
            return text, position
        text += piece


def test_a_log_is_read_on_from_where_one_was() -> None:
    """Reading from the position of the last read gives what has come since, once."""
    log = JobLog(1000)
    log.append(["a", "b"])
    first, position = read_all(log)
    log.append(["c"])
    second, position = read_all(log, position)

    assert (first, second) == ("a\nb\n", "c\n")
    assert read_all(log, position) == ("", position)


def test_a_full_log_forgets_its_beginning_and_says_so() -> None:
    """The oldest lines go; the text begins with how many, and so does what a slow reader gets, counted from where it was."""
    log = JobLog(100)
    log.append([f"{number:09}" for number in range(8)])
    _, position = read_all(log)
    log.append([f"{number:09}" for number in range(8, 30)])

    text = log.text().splitlines()
    late = read_all(log, position)[0].splitlines()

    assert text[0] == "[iris: 23 earlier lines are no longer kept by the controller]"
    assert text[1:] == [f"{number:09}" for number in range(23, 30)]
    assert late[0] == "[iris: 15 earlier lines are no longer kept by the controller]"
    assert late[1:] == text[1:]


def test_a_reader_of_a_full_log_loses_nothing_that_is_kept() -> None:
    """A reader who kept up sees every line although the log forgets."""
    log, position, seen = JobLog(50), 0, ""
    for number in range(100):
        log.append([f"line {number}"])
        text, position = read_all(log, position)
        seen += text

    assert seen == "".join(f"line {number}\n" for number in range(100))
