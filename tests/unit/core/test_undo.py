from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

import pytest

from iris_core.undo import Undo

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
