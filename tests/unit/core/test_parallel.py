from __future__ import annotations

import threading

import pytest

from iris_core.errors import ClusterError
from iris_core.parallel import do_each


def test_results_come_in_the_order_of_the_items() -> None:
    """Whatever ends first."""
    assert do_each(lambda number: number * 2, range(10)) == [number * 2 for number in range(10)]


def test_our_errors_are_results() -> None:
    """A failure stands in its item's place, and the others are done."""
    error = ClusterError("odd")

    def refuse_odd(number: int) -> int:
        if number % 2:
            raise error
        return number

    assert do_each(refuse_odd, range(4)) == [0, error, 2, error]


def test_a_bug_is_raised() -> None:
    """What iris does not raise on purpose is not hidden in a list."""
    with pytest.raises(ZeroDivisionError):
        do_each(lambda number: 1 // number, [0])


def test_four_run_at_the_same_time() -> None:
    """Each waits for three others, so fewer would never end."""
    together = threading.Barrier(4, timeout=5)

    do_each(lambda _: together.wait(), range(8))

    assert not together.broken


def test_five_never_do() -> None:
    """A fifth never comes to meet the four that wait for it."""
    together = threading.Barrier(5, timeout=0.02)

    def meet(_: int) -> bool:
        try:
            together.wait()
        except threading.BrokenBarrierError:
            return False
        return True

    assert not any(do_each(meet, range(8)))
