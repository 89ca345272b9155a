"""What the benchmark counts as lost: it must not miss a hole at any place of a landed file."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.benchmarks.streams import lines_lost

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LAST = 9


def landed(*numbers: int, prefix: str = "stdout F ") -> bytes:
    """A landed file of lines that were written a second after each other."""
    stamps = ((BEGAN + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%S.000000001Z") for number in numbers)
    return "".join(
        f"{stamp} {prefix}line {number} ....\n" for stamp, number in zip(stamps, numbers, strict=True)
    ).encode()


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [
        (range(1, 10), 0),
        ([1, 2, 3, 6, 7, 8, 9], 2),
        ([1, 2, 2, 3, 4, 5, 6, 7, 8, 9], 1),
        (range(4, 10), 3),
        (range(1, 7), 1),
        ([], 1),
    ],
    ids=["all", "a hole of two", "one twice", "the first three", "an early end", "nothing"],
)
def test_lines_lost(numbers: list[int], lost: int) -> None:
    until = (BEGAN + timedelta(seconds=LAST - 0.5)).timestamp()
    assert lines_lost(landed(*numbers), from_first=True, until=until) == lost


def test_others_begin_with_what_comes() -> None:
    """And land lines as `docker logs --timestamps` prints them."""
    assert lines_lost(landed(4, 5, 6, prefix=""), from_first=False, until=BEGAN.timestamp()) == 0
