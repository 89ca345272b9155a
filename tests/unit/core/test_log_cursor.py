"""The end of a landed log is found again at its place in what an engine serves, and nowhere else."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from iris_core.log_cursor import CONTEXT_LINES, ENOUGH_LINES, Anchor, Seeker, Tail, tail_suffices, timestamp_of


def lines_of(letters: str) -> tuple[bytes, ...]:
    """Each letter a line, equal letters equal to the last bit: `a` and `b` are of one moment, all others of another each."""
    return tuple(
        b"2026-01-01T00:00:00.%dZ stdout F %s\n" % (0 if letter in "ab" else ord(letter), letter.encode())
        for letter in letters
    )


# Few letters, long runs, periods: what is hard to find one's place in.
HARD = st.one_of(
    st.text("ab", max_size=90),
    st.text("abc", max_size=90),
    st.builds(
        lambda part, times, end: part * times + end,
        st.text("ab", min_size=1, max_size=5),
        st.integers(0, 20),
        st.text("abc", max_size=9),
    ),
)
CUTS = st.lists(st.integers(0, 90), max_size=5)


def seek(anchor: Anchor, served: tuple[bytes, ...], *, whole: bool, cuts: list[int]) -> int | None:
    """Where the seeker says that the anchor ends, when it is told the lines in pieces."""
    seeker = Seeker(anchor, whole=whole)
    edges = sorted({0, len(served), *(min(cut, len(served)) for cut in cuts)})
    for begin, end in itertools.pairwise(edges):
        found = seeker.find(list(served[begin:end]))
        if found is not None:
            return begin + found
    return None


def defined(anchor: Anchor, served: tuple[bytes, ...], *, whole: bool) -> int | None:
    """The same by definition: after the first place where the context ends, or where enough of it is how a whole read begins."""
    context, numbers = anchor.context, tuple(map(hash, served))
    for end in range(1, len(numbers) + 1):
        if numbers[:end][-len(context) :] == context:
            return end
        if whole and end in anchor.heads and end < len(context) and numbers[:end] == context[-end:]:
            return end
    return None


def anchor_of(landed: tuple[bytes, ...]) -> Anchor:
    anchor = Anchor.at_end_of(Tail(landed, whole=True))
    assert anchor is not None
    return anchor


@given(HARD.filter(bool), HARD, st.booleans(), CUTS)
@example(landed="a" * 40, served="b" + "a" * 41, whole=True, cuts=[])
@example(landed="ab" * 20, served="b" + "ab" * 30, whole=True, cuts=[3])
def test_the_seeker_does_what_is_defined(landed: str, served: str, whole: bool, cuts: list[int]) -> None:  # noqa: FBT001 - hypothesis gives it
    """In whatever pieces the lines come, the place is the first one that fits by definition."""
    anchor = anchor_of(lines_of(landed))
    assert seek(anchor, lines_of(served), whole=whole, cuts=cuts) == defined(anchor, lines_of(served), whole=whole)


@given(st.lists(HARD, min_size=1, max_size=4), st.integers(0, 10_000), st.integers(0, 10_000), CUTS)
def test_the_true_place_or_none(moments: list[str], landed: int, first: int, cuts: list[int]) -> None:
    """However lines repeat within one moment of the engine's clock, a read from anywhere finds the true place or none at all."""
    log = tuple(
        b"2026-01-01T00:00:0%dZ stdout F %s\n" % (second, letter.encode())
        for second, moment in enumerate(moments)
        for letter in moment
    )
    landed %= len(log) + 1
    first %= len(log) + 1
    anchor = Anchor.at_end_of(Tail(log[:landed], whole=True))
    if anchor is None:
        return
    assert seek(anchor, log, whole=True, cuts=cuts) == landed
    if anchor.certain:
        served_whole = first + len(anchor.context) <= landed
        assert seek(anchor, log[first:], whole=False, cuts=cuts) == (landed - first if served_whole else None)
    found = seek(anchor, log[first:], whole=True, cuts=cuts)  # what is before `first` has been rotated away
    if landed - first in anchor.heads:
        assert found == landed - first
    elif anchor.certain and any(one.split()[0] == other.split()[0] for one, other in itertools.pairwise(log[:landed])):
        assert found is None or first + len(anchor.context) <= landed == first + found


@given(HARD.filter(bool))
def test_the_end_is_told_from_every_other_place(landed: str) -> None:
    """The context is unique, does not end as it begins, and is of two moments: 32 lines or a few more, or as many as there are."""
    anchor = anchor_of(lines_of(landed))

    def times(end: str) -> int:
        return sum(landed[at:].startswith(end) for at in range(len(landed)))

    ends = [landed[-length:] for length in range(1, len(landed) + 1)]
    certain = [
        len(end)
        for end in ends
        if times(end) == 1
        and not any(end.startswith(end[-length:]) for length in range(1, len(end)))
        and {line.split()[0] for line in lines_of(end)} != {lines_of(end)[-1].split()[0]}
    ]
    assert anchor.certain is bool(certain)
    enough = [length for length in certain if length >= CONTEXT_LINES]
    assert len(anchor.context) == (min(enough) if enough else max(certain, default=len(landed)))
    assert anchor.context == tuple(map(hash, lines_of(landed)))[-len(anchor.context) :]


def test_where_nothing_has_landed_there_is_no_anchor() -> None:
    """Then everything is to be landed."""
    assert Anchor.at_end_of(Tail((), whole=True)) is None


def test_a_timestamp_is_up_to_the_first_space() -> None:
    """It is told as the gap's edge."""
    assert timestamp_of(b"2026-01-01T00:00:00.5Z stdout P x y\n") == "2026-01-01T00:00:00.5Z"
    anchor = anchor_of(lines_of("ab"))
    assert anchor.timestamp == "2026-01-01T00:00:00.0Z"


def entries(*texts: str) -> tuple[bytes, ...]:
    """Lines of the form `SECOND TAG PAYLOAD`."""
    return tuple(f"2026-01-01T00:00:{text[:2]}Z stdout {text[3:]}\n".encode() for text in texts)


@pytest.mark.parametrize(
    ("landed", "served", "place"),
    [
        pytest.param(["01 F a", "02 F b"], ["02 F b", "03 F c"], 1, id="one line is left"),
        pytest.param(["01 F a", "02 F b"], ["03 F c"], None, id="none is left"),
        pytest.param(
            ["01 F a", "02 P x"], ["02 P x", "02 P x", "02 F x"], None, id="a part of a line, among others like it"
        ),
        pytest.param(["01 F a", "02 P x"], ["01 F a", "02 P x", "02 P x", "02 F x"], 2, id="and what was before it"),
        pytest.param(["01 F a", *["02 P x"] * 13], [*["02 P x"] * 34, "02 F x"], None, id="many parts of a line"),
        pytest.param(["01 F a", "02 P x", "02 F x"], ["02 P x", "02 F x"], 2, id="the end of a line of parts"),
        pytest.param(["01 F a", "01 F b"], ["01 F b", "02 F c"], None, id="a clock on which lines share a moment"),
    ],
)
def test_a_log_that_was_rotated_in_the_middle_of_a_run(landed: list[str], served: list[str], place: int | None) -> None:
    """Where the log begins with lines that may be others than the landed ones, the place is not known: that is a gap, not a guess."""
    assert seek(anchor_of(entries(*landed)), entries(*served), whole=True, cuts=[]) == place


def unfinished(letters: str) -> tuple[bytes, ...]:
    """Two streams: `x` is a part and `X` the end of a line on stdout, `y` and `Y` on stderr. The parts of a line share its timestamp."""
    began: dict[str, int] = {}
    lines = []
    for second, letter in enumerate(letters):
        stream = letter.lower()
        stamp = began.setdefault(stream, second)
        tag = "P" if letter == stream else "F"
        if tag == "F":
            del began[stream]
        lines.append(
            f"2026-01-01T00:00:{stamp:03}Z {'stdout' if stream == 'x' else 'stderr'} {tag} {stream}\n".encode()
        )
    return tuple(lines)


@example(before="yXxx", part="yxx", middle="x" * 20, behind="xX")
@given(
    before=st.text("xyXY", max_size=40),
    part=st.text("xy", min_size=1, max_size=6),
    middle=st.text("xy", max_size=30),
    behind=st.text("xyX", max_size=9),
)
def test_the_parts_of_unfinished_lines_are_not_taken_for_others(
    before: str, part: str, middle: str, behind: str
) -> None:
    """A log that begins with parts like the last landed ones, of the same lines, is not taken to go on there: lines would be lost."""
    written = unfinished("X" + before + part + middle + part + behind)
    landed = len("X" + before + part)
    anchor = anchor_of(written[:landed])
    for first in range(len(written)):
        found = seek(anchor, written[first:], whole=True, cuts=[])
        if first <= landed - len(anchor.context):
            assert found is not None
        if anchor.certain or first == 0:
            assert found in {None, landed - first}


LETTERS = "".join(map(chr, range(0x4E00, 0x4E00 + 2 * ENOUGH_LINES)))


@pytest.mark.parametrize(
    ("letters", "whole", "suffices"),
    [
        pytest.param("", True, True, id="nothing, and that is all"),
        pytest.param("a", True, True, id="all there is"),
        pytest.param("a" * ENOUGH_LINES, True, True, id="all there is, and all the same"),
        pytest.param(LETTERS[: ENOUGH_LINES - 1], False, False, id="too few"),
        pytest.param(LETTERS[:ENOUGH_LINES], False, True, id="enough"),
        pytest.param("a" * ENOUGH_LINES, False, False, id="a run that may begin before"),
        pytest.param("ab" * ENOUGH_LINES, False, False, id="a period that may begin before"),
        pytest.param("b" + "a" * ENOUGH_LINES, False, False, id="a run and what was before it at the same moment"),
        pytest.param("c" + "a" * ENOUGH_LINES, False, True, id="a run and a moment before it"),
        pytest.param("cb" + "ab" * ENOUGH_LINES, False, True, id="a period and a moment before it"),
    ],
)
def test_when_a_tail_is_long_enough(letters: str, whole: bool, suffices: bool) -> None:  # noqa: FBT001 - a table
    """A tail is read back further until its end cannot be mistaken."""
    assert tail_suffices(Tail(lines_of(letters), whole=whole)) is suffices


@pytest.mark.timeout(5)
def test_a_long_run_is_sought_in_one_pass() -> None:
    """A hundred thousand equal lines, half of them rotated away: each served line is looked at once, not once per line."""
    count = 100_000
    landed, served = lines_of("c") + lines_of("a") * count, lines_of("a") * (count // 2) + lines_of("d")
    anchor = anchor_of(landed)
    assert len(anchor.context) == count + 1
    assert seek(anchor, served, whole=True, cuts=[]) is None
