"""Where a landed log ends, and how that place is found again in what an engine serves. Pure.

The place is not a timestamp: those are not monotonic in the log's order, and parts of one line share one. It is the last landed lines, as
many of them as it takes to be unlike any other place, in what has landed and in what may follow: 32, or a whole run or cycle of identical
lines with what was before it, for the same lines may go on in what follows.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CONTEXT_LINES: Final = 32
"""How many landed lines identify the end at least. 16 held in the trials; more cost nothing and make a chance match less likely still."""

ENOUGH_LINES: Final = 256
"""Of the landed tail, in which the context must be the only one of its kind."""

_MODULUS: Final = (1 << 61) - 1
_BASE: Final = 0x1D8F_35C7_A04B_62E9  # any will do: what it multiplies are hashes that differ from process to process


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of what has landed of one container.

    Attributes:
        lines: its last lines, oldest first.
        whole: whether these are all that has landed of the container.
        landed_bytes: how much has landed of it, in all.
    """

    lines: tuple[bytes, ...]
    whole: bool
    landed_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Anchor:
    """The end of what has landed, as something to look for.

    Attributes:
        context: hashes of the last landed lines, oldest first.
        heads: how many of them, from the end, are enough where a log begins with them and those before are rotated away.
        timestamp: the engine's timestamp of the last landed line.
        certain: whether what follows cannot look like it, so that it may be looked for in a read of the last so many entries. If not, only
            a read that begins where the log begins tells.
    """

    context: tuple[int, ...]
    heads: frozenset[int]
    timestamp: str
    certain: bool

    @classmethod
    def at_end_of(cls, tail: Tail) -> Anchor | None:
        """The anchor of a tail; None where nothing has landed."""
        if not tail.lines:
            return None
        hashes = [hash(line) for line in tail.lines]
        unique = _shortest_unique_end(hashes)
        length = _certain_length(tail.lines, hashes, unique)
        context = tuple(hashes[-length:] if length else hashes)
        return cls(
            context,
            _heads(tail.lines, context, unique),
            timestamp_of(tail.lines[-1]),
            certain=length is not None,
        )


def tail_suffices(tail: Tail) -> bool:
    """Whether a tail is long enough to make an anchor that is found at one place only."""
    return tail.whole or (len(tail.lines) >= ENOUGH_LINES and ends_certainly(tail.lines))


def ends_certainly(lines: tuple[bytes, ...]) -> bool:
    """Whether these last landed lines make an anchor that nothing else can be taken for."""
    if not lines:
        return False
    hashes = [hash(line) for line in lines]
    return _certain_length(lines, hashes, _shortest_unique_end(hashes)) is not None


class Finder(Protocol):
    """Finds the place in the lines that an engine serves from which on they are to be landed."""

    def find(self, lines: list[bytes]) -> int | None:
        """Take the next lines; return the index of the first one to land, or None while it has not come."""
        ...


@dataclass(slots=True)
class Beginning:
    """With which lines a log begins.

    Attributes:
        count: with how many.
        total: a sum over their hashes, as Rabin and Karp's way of comparing has it.
    """

    count: int = 0
    total: int = 0

    def add(self, numbers: Iterable[int]) -> None:
        """Add hashes of the next lines."""
        for number in numbers:
            self.total = (self.total * _BASE + number) % _MODULUS
            self.count += 1


class BeginningSeeker:
    """Looks for the end of a beginning that is known from an earlier read of the whole log.

    Args:
        beginning: what is known.
    """

    def __init__(self, beginning: Beginning) -> None:
        self._beginning = beginning
        self._seen = Beginning()

    def find(self, lines: list[bytes]) -> int | None:
        """See `Finder`. It is not found where the log begins with other lines now."""
        more = self._beginning.count - self._seen.count
        if more <= 0:
            return None
        part = lines[:more]
        self._seen.add(map(hash, part))
        return len(part) if self._seen == self._beginning else None


class Seeker:
    """Looks for an anchor in the lines that an engine serves (Knuth, Morris and Pratt's way: each line is looked at once).

    Args:
        anchor: what to look for.
        whole: whether the read begins at the first entry that the engine holds. The lines before it may then have been rotated away, so
            that part of the context is enough, if that part cannot be found elsewhere.

    Attributes:
        overlap: of a whole read: with which of the last landed lines, as many as can be, the log begins. They may also be others that
            look the same.
    """

    def __init__(self, anchor: Anchor, *, whole: bool) -> None:
        self.overlap = Beginning()
        self._context = anchor.context
        self._heads = anchor.heads
        self._fallback = list(_borders(anchor.context))
        self._matched = 0
        # Of a whole read: sums that tell whether its first lines, so many as there have been, are the last ones of the context.
        self._ends = _sums_of_ends(anchor.context) if whole else []
        self._head = Beginning()

    def find(self, lines: list[bytes]) -> int | None:
        """See `Finder`: the first one after the anchor."""
        context, fallback, matched = self._context, self._fallback, self._matched
        for index, line in enumerate(lines):
            number = hash(line)
            while matched and context[matched] != number:
                matched = fallback[matched - 1]
            if context[matched] == number:
                matched += 1
            if matched == len(context) or (self._head.count < len(self._ends) and self._ends_at_head(number)):
                return index + 1
        self._matched = matched
        return None

    def _ends_at_head(self, number: int) -> bool:
        head = self._head
        head.add((number,))
        if head.total != self._ends[head.count - 1]:
            return False
        self.overlap = Beginning(head.count, head.total)
        return head.count in self._heads


def timestamp_of(line: bytes) -> str:
    """The engine's timestamp of a landed line, or of the first of several."""
    return line[: line.index(b" ")].decode("ascii", "replace")


def _shortest_unique_end(hashes: list[int]) -> int:
    """How many of the last numbers it takes to be found only at the end (all of them always do)."""
    if hashes.count(hashes[-1]) == 1:
        return 1
    # The longest stretch that ends elsewhere and equals the end: the Z-function of the reversed numbers.
    numbers = hashes[::-1]
    count = len(numbers)
    longest, left, right = 0, 0, 0
    z = [0] * count
    for at in range(1, count):
        if at < right:
            z[at] = min(right - at, z[at - left])
        while at + z[at] < count and numbers[z[at]] == numbers[at + z[at]]:
            z[at] += 1
        if at + z[at] > right:
            left, right = at, at + z[at]
        longest = max(longest, z[at])
    return longest + 1


def _sums_of_ends(context: tuple[int, ...]) -> list[int]:
    """For each number of last lines, from 1 to all but one, the sum that a `Beginning` of them has."""
    sums, total, weight = [], 0, 1
    for number in reversed(context[1:]):
        total = (total + number * weight) % _MODULUS
        weight = weight * _BASE % _MODULUS
        sums.append(total)
    return sums


def _certain_length(lines: tuple[bytes, ...], hashes: list[int], unique: int) -> int | None:
    """How many of the last lines no others can be taken for, neither landed ones nor those that follow; None if that cannot be said.

    They are unique among the landed ones; they do not end as they begin, so that they cannot overlap with what follows (as the end of a run
    does, which goes on); and one of them is over, so that they cannot all come again.
    """
    over = _to_one_that_is_over(lines)
    if over is None:
        return None
    certain = None
    for length, border in enumerate(_borders(hashes[::-1]), 1):
        if border == 0 and length >= max(unique, over):
            certain = length
            if length >= CONTEXT_LINES:
                break
    return certain


def _heads(lines: tuple[bytes, ...], context: tuple[int, ...], unique: int) -> frozenset[int]:
    """How many of the last lines are enough to know the end by where a log begins with them.

    They are unique among the landed ones, and do not end as they begin. Where lines may come again with the same timestamp, one of them is
    over: else a log that was rotated in the middle of a run would be thought to begin at the run's landed end. Or they are so many that
    they will not come again all the same (32 parts of a line are half a megabyte of it), or each is unlike so many before it.
    """
    over = _to_one_that_is_over(lines) if lines[-1].split(b" ", 3)[2] == b"P" or _same_moment(lines) else 1
    latest = lines[-CONTEXT_LINES:]
    enough = 1 if len(set(latest)) == CONTEXT_LINES else CONTEXT_LINES
    least = max(unique, enough if over is None else min(over, enough))
    return frozenset(
        length for length, border in enumerate(_borders(context[::-1]), 1) if border == 0 and length >= least
    )


def _same_moment(lines: tuple[bytes, ...]) -> bool:
    """Whether a whole line is followed by one with the same timestamp: the clock is coarse. Parts of one line always share theirs."""
    for line, following in itertools.pairwise(lines):
        stamp, _, tag, _ = line.split(b" ", 3)
        if tag == b"F" and following.startswith(stamp + b" "):
            return True
    return False


def _to_one_that_is_over(lines: tuple[bytes, ...]) -> int | None:
    """How many of the last lines it takes to have one that cannot come again; None if any of them may.

    Those with the last one's timestamp may, while the clock stands. So may the parts of a line that its stream has not ended: each bears
    the timestamp of the first, however long that is ago, and whatever the other stream writes in between.
    """
    stamp = timestamp_of(lines[-1])
    ended = set()
    for length, line in enumerate(reversed(lines), 1):
        _, stream, tag, _ = line.split(b" ", 3)
        if tag == b"F":
            ended.add(stream)
        if stream in ended and timestamp_of(line) != stamp:
            return length
    return None


def _borders(numbers: Sequence[int]) -> Iterator[int]:
    """For each place, the length of the longest proper prefix that ends there (Knuth, Morris and Pratt's prefix function)."""
    lengths: list[int] = []
    for at, number in enumerate(numbers):
        length = lengths[at - 1] if at else 0
        while length and number != numbers[length]:
            length = lengths[length - 1]
        lengths.append(length + 1 if at and number == numbers[length] else 0)
        yield lengths[at]
