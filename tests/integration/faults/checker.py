"""Whether what landed of a log is what the engine wrote of it: all, once, in order, but for exactly the holes that were told. Pure."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from tests.integration.faults.truth import TrueLog

Record = dict[str, Any]


@dataclass
class Verdict:
    """What became of one source's lines.

    Attributes:
        lives: containers that landed.
        unseen_lives: containers that were removed before iris saw them, with not one line landed.
        written: lines that the engine wrote, of all containers.
        landed: lines that landed.
        gaps: holes that were told and are there.
        in_gaps: lines in them.
        heads: logs whose beginning had been rotated away before the first look, and that this was told of.
        in_heads: lines in those beginnings.
        tails: removed containers of whose end it was told that it may be missing, and it was.
        in_tails: lines in those ends.
        in_unseen: lines of unseen lives.
        lost: lines that should have landed and did not.
        doubled: landed lines that the engine did not write, or not so often.
        problems: everything that is not as it should be, for people.
    """

    lives: int = 0
    unseen_lives: int = 0
    written: int = 0
    landed: int = 0
    gaps: int = 0
    in_gaps: int = 0
    heads: int = 0
    in_heads: int = 0
    tails: int = 0
    in_tails: int = 0
    in_unseen: int = 0
    lost: int = 0
    doubled: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Life:
    container_id: str
    pieces: list[list[bytes]]
    gaps: list[Record]  # between the pieces
    kinds: frozenset[str]  # of the events that were told of it


def check(landed: bytes, records: Sequence[Record], truths: Sequence[TrueLog]) -> Verdict:
    """Compare.

    Args:
        landed: the landed file.
        records: those of the events' file beside it.
        truths: the containers that bore the name, in the order of their creation.
    """
    verdict = Verdict(written=sum(len(truth.lines) for truth in truths))
    if landed and not landed.endswith(b"\n"):
        verdict.problems.append(f"the landed file ends in a torn line: {landed[-80:]!r}")
    lives = _lives(landed, records)
    order = {truth.container_id: index for index, truth in enumerate(truths)}
    seen = [life.container_id for life in lives]
    if len(set(seen)) != len(seen) or [order.get(one, -1) for one in seen] != sorted(
        order.get(one, -1) for one in seen
    ):
        verdict.problems.append(f"containers landed in the order {seen}, but were created in the order {list(order)}")
    by_id = {life.container_id: life for life in lives}
    for truth in truths:
        life = by_id.pop(truth.container_id, None)
        if life is not None:
            verdict.lives += 1
            _check_life(life, truth, verdict)
        elif truth.removed:
            verdict.unseen_lives += 1
            verdict.in_unseen += len(truth.lines)
        else:
            verdict.lost += len(truth.lines)
            verdict.problems.append(f"container {truth.container_id[:12]} is there and was never captured")
    verdict.problems += [f"container {one[:12]} landed, and never was" for one in by_id]
    return verdict


def _lives(landed: bytes, records: Sequence[Record]) -> list[_Life]:
    marks: list[Record] = []
    for record in records:
        if "from" in record and (not marks or marks[-1]["container"] != record["container"]):
            marks.append(record)
    lives = []
    for index, mark in enumerate(marks):
        begin = mark["from"]
        end = marks[index + 1]["from"] if index + 1 < len(marks) else len(landed)
        own = _told_of(mark, marks[index + 1] if index + 1 < len(marks) else None, records)
        # Told again after a kill between the record and the first line after the hole: it is one hole, and the last word counts.
        gaps = {record["offset"]: record for record in own if record["event"] == "gap"}
        edges = [begin, *sorted(gaps), end]
        pieces = [_lines(landed[a:b]) for a, b in itertools.pairwise(edges)]
        lives.append(
            _Life(mark["container"], pieces, [gaps[at] for at in sorted(gaps)], frozenset(one["event"] for one in own))
        )
    return lives


def _told_of(mark: Record, following: Record | None, records: Sequence[Record]) -> list[Record]:
    begin = records.index(mark)
    end = len(records) if following is None else records.index(following)
    return list(records[begin:end])


def _lines(data: bytes) -> list[bytes]:
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]


def _check_life(life: _Life, truth: TrueLog, verdict: Verdict) -> None:
    lines = truth.lines
    name = truth.container_id[:12]
    excused: Counter[bytes] = Counter()
    problems: list[str] = []
    at = 0
    for index, piece in enumerate(life.pieces):
        gap = life.gaps[index - 1] if index else None
        begin = _find(piece, lines, at, [*truth.file_starts] if index or "unverified-head" in life.kinds else [])
        if begin is None:
            problems.append(_difference(name, piece, lines, at, index))
            break
        hole = lines[at:begin]
        excused.update(hole)
        if gap is not None:
            verdict.gaps += 1
            verdict.in_gaps += len(hole)
            problems += _check_gap(name, gap, truth, at, begin)
        elif hole:
            verdict.heads += 1
            verdict.in_heads += len(hole)
        at = begin + len(piece)
    else:
        rest = lines[at:]
        if rest and "unverified-tail" in life.kinds and truth.removed:
            verdict.tails += 1
            verdict.in_tails += len(rest)
            excused.update(rest)
        elif rest:
            problems.append(
                f"container {name}: the last {len(rest)} of {len(lines)} lines are missing: {rest[0][:80]!r} …"
            )
    landed: Counter[bytes] = Counter(itertools.chain.from_iterable(life.pieces))
    verdict.landed += landed.total()
    wanted = Counter(lines) - excused
    verdict.lost += (wanted - landed).total()
    verdict.doubled += (landed - wanted).total()
    verdict.problems += problems


def _find(piece: Sequence[bytes], lines: Sequence[bytes], at: int, starts: Iterable[int]) -> int | None:
    """Where a piece is found: where it should go on, or at the first line of a later log file."""
    for begin in [at, *(start for start in starts if start > at)]:
        if lines[begin : begin + len(piece)] == piece:
            return begin
    return None


def _check_gap(name: str, gap: Mapping[str, Any], truth: TrueLog, at: int, begin: int) -> list[str]:
    problems = []
    lines, starts = truth.lines, truth.file_starts
    # Where exactly the last landed line and none after it was rotated away, nobody can know that nothing is missing.
    if begin == at and begin not in starts:
        problems.append(f"container {name}: a gap was told after line {at} where none is: {gap}")
    for key, index in (("after", at - 1), ("before", begin)):
        stamp = lines[index].split(b" ", 1)[0].decode() if 0 <= index < len(lines) else "nothing"
        if gap[key] != stamp:
            problems.append(f"container {name}: the gap of lines {at} to {begin} tells {key} {gap[key]}, it is {stamp}")
    return problems


def _difference(name: str, piece: Sequence[bytes], lines: Sequence[bytes], at: int, index: int) -> str:
    """What is wrong with a piece, as a text: where it leaves the truth, when it is put where it fits longest."""
    same = next((n for n, (a, b) in enumerate(zip(piece, lines[at:], strict=False)) if a != b), len(piece))
    there = piece[same][:80] if same < len(piece) else b"(its end)"
    where = lines[at + same][:80] if at + same < len(lines) else b"(the end)"
    return f"container {name}, piece {index}: after {at + same} lines {there!r} landed where {where!r} was written"
