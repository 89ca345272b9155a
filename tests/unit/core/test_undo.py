from __future__ import annotations

import threading
from typing import TYPE_CHECKING, NoReturn

import pytest

from iris_adapters.fakes import FakeClock
from iris_core.undo import Ending, Undo

if TYPE_CHECKING:
    from collections.abc import Callable


def raiser(error: BaseException) -> Callable[[], NoReturn]:
    def fail() -> NoReturn:
        raise error

    return fail


def test_steps_are_taken_last_first_and_once() -> None:
    """What was taken last is given back first; a second time there is nothing to do."""
    taken: list[str] = []
    undo = Undo()
    undo.owe("one", lambda: taken.append("one"))
    undo.owe("two", lambda: taken.append("two"))

    undo.carry_out()
    undo.carry_out()

    assert taken == ["two", "one"]


def test_a_failed_step_does_not_stop_the_others() -> None:
    """The first failure is raised at the end, with the later ones noted on it."""
    taken: list[str] = []
    undo = Undo()
    undo.owe("last", lambda: taken.append("last"))
    undo.owe("second", raiser(OSError("b")))
    undo.owe("first", raiser(ValueError("a")))

    with pytest.raises(ValueError, match="a") as raised:
        undo.carry_out()

    assert taken == ["last"]
    assert raised.value.__notes__ == ["After that, second failed: b"]


def test_the_error_that_led_here_stays_the_one() -> None:
    """Given a reason, nothing is raised: the caller raises the reason, which bears the failures as notes."""
    reason = ValueError("mine")
    undo = Undo()
    undo.owe("stopping", raiser(OSError("b")))

    undo.carry_out(because=reason)

    assert reason.__notes__ == ["After that, stopping failed: b"]


def test_an_interruption_says_what_is_not_done(caplog: pytest.LogCaptureFixture) -> None:
    """A second Ctrl-C is obeyed, and the user is told what is still there."""
    taken: list[str] = []
    undo = Undo()
    undo.owe("stopping the cluster", lambda: taken.append("stopped"))
    undo.owe("stopping the log streaming", raiser(KeyboardInterrupt()))

    with pytest.raises(KeyboardInterrupt):
        undo.carry_out(because=ValueError("mine"))

    assert taken == []
    assert "not done: stopping the log streaming, stopping the cluster" in caplog.text


class TestEnding:
    """Steps that others wait for, though not for ever."""

    def test_without_a_time_it_is_waited_for_to_its_end(self) -> None:
        """As any other step, on the same thread; its failure is its own."""
        undo, clock = Undo(), FakeClock(auto_advance=True)
        undo.owe("landing", raiser(OSError("full")))
        ending = Ending(undo, clock, None)

        with pytest.raises(OSError, match="full"):
            ending.begin()
        ending.wait()

    def test_what_takes_longer_goes_on_beside_the_others(self) -> None:
        """They wait for so long, and in the end for all of it; what has failed is told then."""
        undo, clock, taken = Undo(), FakeClock(auto_advance=True), list[str]()
        slow = threading.Event()
        undo.owe("landing", raiser(OSError("full")))
        undo.owe("slow", lambda: slow.wait(10))
        ending = Ending(undo, clock, 3)

        ending.begin()
        taken.append(f"deletion after {clock.monotonic():g}")
        slow.set()
        with pytest.raises(OSError, match="full"):
            ending.wait()

        assert taken == ["deletion after 3"]

    def test_what_was_never_begun_is_not_waited_for(self) -> None:
        """Where no thread could be had, say."""
        Ending(Undo(), FakeClock(), 3).wait()
