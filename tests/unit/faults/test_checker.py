"""The fault suite's check finds what it is there to find."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.faults.checker import Verdict, check
from tests.integration.faults.truth import TrueLog

ONE, TWO = "1" * 64, "2" * 64


def line(number: int, text: str = "x") -> bytes:
    return f"2026-01-01T00:00:00.{number:09d}Z stdout F {text} {number}\n".encode()


LINES = [line(number) for number in range(40)]


def truth(lines: list[bytes] = LINES, container: str = ONE, *, removed: bool = False) -> TrueLog:
    """A log in files of ten lines."""
    return TrueLog(container, lines, range(0, len(lines), 10), removed)


def began(container: str = ONE, at: int = 0) -> dict[str, Any]:
    return {"event": "started", "container": container, "from": at, "offset": at}


def gap(after: int, before: int, at: int, lines: list[bytes] = LINES) -> dict[str, Any]:
    stamps = [lines[number].split(b" ")[0].decode() for number in (after, before)]
    return {"event": "gap", "after": stamps[0], "before": stamps[1], "offset": at}


def size(lines: list[bytes]) -> int:
    return sum(map(len, lines))


def checked(landed: list[bytes], *records: dict[str, Any], removed: bool = False) -> Verdict:
    return check(b"".join(landed), [began(), *records], [truth(removed=removed)])


def test_all_that_was_written_is_fine() -> None:
    """Nothing to complain of, and all is counted."""
    assert checked(LINES) == Verdict(lives=1, written=40, landed=40)


@pytest.mark.parametrize(
    ("landed", "lost", "doubled"),
    [
        (LINES[:20] + LINES[21:], 1, 0),
        (LINES[:-3], 3, 0),
        (LINES[1:], 1, 0),
        ([*LINES[:20], LINES[19], *LINES[20:]], 0, 1),
        ([*LINES, LINES[39]], 0, 1),
        (LINES + LINES, 0, 40),
        ([*LINES[:20], LINES[21], LINES[20], *LINES[22:]], 0, 0),
        ([*LINES[:20], line(20, "y"), *LINES[21:]], 1, 1),
        ([], 40, 0),
    ],
)
def test_every_difference_is_a_problem(landed: list[bytes], lost: int, doubled: int) -> None:
    """A line that is missing, doubled, in the wrong place or changed."""
    verdict = checked(landed)
    assert verdict.problems
    assert (verdict.lost, verdict.doubled) == (lost, doubled)


def test_a_gap_that_is_told_is_fine() -> None:
    """From the line that it names to the first line of a file, and what is in it does not count as lost."""
    landed = LINES[:15] + LINES[20:]
    verdict = checked(landed, gap(14, 20, size(LINES[:15])))
    assert verdict == Verdict(lives=1, written=40, landed=35, gaps=1, in_gaps=5)


def test_a_gap_that_is_told_twice_is_one() -> None:
    """Killed between the telling and the first line, iris tells again; the last word counts."""
    landed = LINES[:15] + LINES[30:]
    verdict = checked(landed, gap(14, 20, size(LINES[:15])), gap(14, 30, size(LINES[:15])))
    assert verdict == Verdict(lives=1, written=40, landed=25, gaps=1, in_gaps=15)


@pytest.mark.parametrize(
    ("landed", "told"),
    [
        (LINES, gap(14, 15, size(LINES[:15]))),  # nothing is missing there
        (LINES[:15] + LINES[20:], gap(14, 21, size(LINES[:15]))),  # another end
        (LINES[:15] + LINES[20:], gap(13, 20, size(LINES[:15]))),  # another beginning
        (LINES[:15] + LINES[18:], gap(14, 18, size(LINES[:15]))),  # the engine held 18, but also 16 and 17
        (LINES[:15] + LINES[20:25] + LINES[26:], gap(14, 20, size(LINES[:15]))),  # another hole
        (LINES[:15] + LINES[10:], gap(14, 10, size(LINES[:15]))),  # back
    ],
)
def test_a_gap_that_is_not_as_it_is_told_is_a_problem(landed: list[bytes], told: dict[str, Any]) -> None:
    """Invented, inexact, or told to cover something else."""
    assert checked(landed, told).problems


def test_a_gap_where_only_the_last_landed_line_was_rotated_away_is_fine() -> None:
    """Nobody can know that nothing is missing after it."""
    assert not checked(LINES, gap(19, 20, size(LINES[:20]))).problems


def test_a_missing_end_must_be_told_and_the_container_gone() -> None:
    """Else it is lost."""
    told = {"event": "unverified-tail", "offset": size(LINES[:30])}
    assert checked(LINES[:30], told, removed=True) == Verdict(lives=1, written=40, landed=30, tails=1, in_tails=10)
    assert checked(LINES[:30], told).lost == 10
    assert checked(LINES[:30], removed=True).lost == 10


def test_a_missing_beginning_must_be_told_and_end_with_a_file() -> None:
    """Else it is lost."""
    told = {"event": "unverified-head", "offset": 0}
    assert checked(LINES[20:], told) == Verdict(lives=1, written=40, landed=20, heads=1, in_heads=20)
    assert checked(LINES[21:], told).lost == 21
    assert checked(LINES[20:]).lost == 20


def test_containers_follow_each_other() -> None:
    """Each is compared with its own truth, in the order of their creation."""
    later = [line(number, "later") for number in range(10)]
    landed = b"".join(LINES + later)
    truths = [truth(removed=True), truth(later, TWO)]
    records = [began(), began(), began(TWO, size(LINES))]
    assert check(landed, records, truths) == Verdict(lives=2, written=50, landed=50)
    assert check(landed, records, truths[::-1]).problems


def test_a_container_that_nobody_saw_must_be_gone() -> None:
    """One that is there and was not captured is lost; one that had gone before is unseen."""
    assert check(b"", [], [truth(removed=True)]) == Verdict(unseen_lives=1, written=40, in_unseen=40)
    assert check(b"", [], [truth()]).lost == 40


def test_what_was_never_written_is_a_problem() -> None:
    """Another container's lines, or half a line."""
    assert checked([*LINES, b"2026"]).problems
    assert check(b"".join(LINES), [began(TWO)], [truth(removed=True)]).problems
