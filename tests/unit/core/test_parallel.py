from __future__ import annotations

import threading

import pytest

from iris_core.errors import ClusterError
from iris_core.parallel import do_each


def nothing() -> None:
    """There is nothing to call off."""


def test_results_come_in_the_order_of_the_items() -> None:
    """Whatever ends first."""
    assert do_each(lambda number: number * 2, range(10), call_off=nothing) == [number * 2 for number in range(10)]


def test_our_errors_are_results() -> None:
    """A failure stands in its item's place, and the others are done."""
    error = ClusterError("odd")

    def refuse_odd(number: int) -> int:
        if number % 2:
            raise error
        return number

    assert do_each(refuse_odd, range(4), call_off=nothing) == [0, error, 2, error]


def test_a_bug_is_raised() -> None:
    """What iris does not raise on purpose is not hidden in a list."""
    with pytest.raises(ZeroDivisionError):
        do_each(lambda number: 1 // number, [0], call_off=nothing)


def test_four_run_at_the_same_time() -> None:
    """Each waits for three others, so fewer would never end."""
    together = threading.Barrier(4, timeout=5)

    do_each(lambda _: together.wait(), range(8), call_off=nothing)

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

    assert not any(do_each(meet, range(8), call_off=nothing))


def test_an_interrupt_calls_off_what_runs_and_does_not_wait_for_it() -> None:
    """Ctrl-C is not to wait for slices that take minutes; what had not begun never does."""
    begun: list[int] = []
    called_off, goes_on = threading.Event(), threading.Event()

    def action(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise KeyboardInterrupt
        goes_on.wait(5)

    with pytest.raises(KeyboardInterrupt):
        do_each(action, [3, *range(10, 30)], call_off=called_off.set)
    assert called_off.is_set()
    count = len(begun)
    assert count < 20
    goes_on.set()
