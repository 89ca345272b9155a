from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from iris_adapters.cli import interrupts as module
from iris_adapters.cli.interrupts import Interrupts

if TYPE_CHECKING:
    from collections.abc import Iterator


class Left(BaseException):
    """Stands for the end of the process."""


@pytest.fixture
def left(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, str]]]:
    """Exit code and last words of every end at once; the signals' handlers are put back afterwards."""
    ends: list[tuple[int, str]] = []

    def leave(code: int, words: str) -> None:
        ends.append((code, words))
        raise Left

    monkeypatch.setattr(module, "leave_at_once", leave)
    former = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield ends
    for number, handler in former.items():
        signal.signal(number, handler)


@pytest.fixture
def interrupts(left: list[tuple[int, str]]) -> Iterator[Interrupts]:
    made = Interrupts()
    made.install()
    yield made
    made.done()
    assert isinstance(left, list)


def test_once_unwinds_and_twice_ends_at_once(
    interrupts: Interrupts, left: list[tuple[int, str]], capfd: pytest.CaptureFixture[str]
) -> None:
    """With what is at stake at that moment as the last words."""
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert "within 10 s" in capfd.readouterr().err
    assert left == []
    with interrupts.at_stake("no more"):
        pass
    with interrupts.at_stake("the cluster costs money"), pytest.raises(Left):
        signal.raise_signal(signal.SIGINT)
    ((code, words),) = left
    assert code == 130
    assert "ended at once.\nthe cluster costs money" in words
    assert "no more" not in words


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals_unwind_too(interrupts: Interrupts, number: signal.Signals, code: int) -> None:
    """As an exit, with the shells' code."""
    with pytest.raises(SystemExit) as ended:
        signal.raise_signal(number)
    assert ended.value.code == code
    assert interrupts.exit_code(1) == code


def test_the_time_is_up(interrupts: Interrupts, left: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """An end in order that does not come is cut short."""
    monkeypatch.setattr(module, "GRACE_SECONDS", 0.0)
    monkeypatch.setattr("threading.excepthook", lambda _: None)  # the end of the process, as `left` plays it
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert interrupts._deadline is not None
    interrupts._deadline.join(10)
    assert [code for code, _ in left] == [130]
    assert "did not end in order" in left[0][1]


@pytest.mark.parametrize(("code", "told"), [(0, 0), (1, 130), (4, 130)])
def test_a_signal_says_the_exit_code_unless_the_end_was_a_regular_one(
    interrupts: Interrupts, code: int, told: int
) -> None:
    """Ctrl-C is how `connect` is meant to end."""
    assert interrupts.exit_code(code) == code
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert interrupts.exit_code(code) == told


def test_an_ignored_signal_stays_ignored(interrupts: Interrupts) -> None:
    """As under nohup."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupts.install()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
