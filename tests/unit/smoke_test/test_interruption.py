"""`Interruption`: signals and the deadline end a run, but not its cleaning up."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading

import pytest

from iris_adapters.fakes import FakeClock
from iris_adapters.smoke_test.interruption import Interrupted, Interruption


class _Exits:
    """Stands in for the end of the process."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.words = ""
        self.left = threading.Event()

    def __call__(self, exit_code: int, last_word: str) -> None:
        self.words = last_word
        self.codes.append(exit_code)
        self.left.set()


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def exits() -> _Exits:
    return _Exits()


@pytest.fixture
def interruption(clock: FakeClock, exits: _Exits) -> Interruption:
    return Interruption(clock, timeout_seconds=60, cleanup_seconds=30, at_stake="it costs money", leave=exits)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_is_raised_in_the_main_thread(interruption: Interruption, number: signal.Signals, code: int) -> None:
    """Ctrl-C, SIGTERM and a closed terminal end what is going on, and become the exit code."""
    with interruption:
        with pytest.raises(Interrupted) as caught:
            signal.raise_signal(number)
        interruption.begin_cleanup()
    assert caught.value.exit_code == interruption.exit_code == code


def test_the_second_signal_leaves_at_once(interruption: Interruption, exits: _Exits) -> None:
    """Whoever presses Ctrl-C twice does not want to wait."""
    with interruption:
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGINT)
        assert exits.codes == []
        signal.raise_signal(signal.SIGINT)
    assert exits.codes[0] == 130
    assert exits.words == "SIGINT again: left at once, without cleaning up.\nit costs money"


def test_a_signal_while_cleaning_up_is_noted_and_the_next_one_leaves(
    interruption: Interruption, exits: _Exits, capfd: pytest.CaptureFixture[str]
) -> None:
    """Cleaning up goes on, the exit code is the signal's, and the user is told what a second one does."""
    with interruption:
        interruption.begin_cleanup()
        signal.raise_signal(signal.SIGTERM)
        assert interruption.exit_code == 143
        assert exits.codes == []
        signal.raise_signal(signal.SIGTERM)
    assert exits.codes[0] == 143
    assert "once more leaves at once" in capfd.readouterr().err


def test_the_deadline_ends_a_wait_that_knows_of_none(clock: FakeClock, interruption: Interruption) -> None:
    """A phase that blocks for ever is ended when the time is up."""
    blocks = threading.Event()

    def block() -> None:
        blocks.set()
        threading.Event().wait(30)

    def end_the_time() -> None:
        blocks.wait(30)
        clock.advance(60)

    with interruption:
        clock.wait_until_waiting()
        threading.Thread(target=end_the_time).start()
        with pytest.raises(Interrupted, match="60 s") as caught:
            block()
        assert caught.value.exit_code == 1
        with pytest.raises(Interrupted):
            interruption.check()


def test_the_deadline_does_not_end_cleaning_up(clock: FakeClock, interruption: Interruption, exits: _Exits) -> None:
    """Once cleaning up has begun it has its own time."""
    with interruption:
        interruption.begin_cleanup()
        clock.wait_until_waiting()
        clock.advance(29)
    assert interruption.exit_code is None
    assert exits.codes == []


def test_cleaning_up_that_takes_too_long_is_given_up(
    clock: FakeClock, interruption: Interruption, exits: _Exits
) -> None:
    """Nothing waits for ever: after its time the process ends all the same."""
    with interruption:
        clock.wait_until_waiting()
        with pytest.raises(Interrupted):
            signal.raise_signal(signal.SIGTERM)
        clock.wait_until_waiting()
        clock.advance(30)
        assert exits.left.wait(10)
        assert exits.words.endswith("was given up.\nit costs money")
    assert exits.codes == [143]


def test_afterwards_everything_is_as_before(interruption: Interruption) -> None:
    """The former handlers are back and the watchdog has ended."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    with interruption:
        assert signal.getsignal(signal.SIGINT) is not before[0]
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)] == before
    assert "iris-deadline" not in [thread.name for thread in threading.enumerate()]


def test_an_ignored_signal_stays_ignored(interruption: Interruption) -> None:
    """`nohup iris smoke-test` survives the terminal."""
    former = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruption:
            signal.raise_signal(signal.SIGHUP)
            assert interruption.exit_code is None
    finally:
        signal.signal(signal.SIGHUP, former)


def test_leaving_at_once_takes_the_child_processes_along() -> None:
    """Not even the hasty exit leaves a job's processes behind."""
    script = (
        "import subprocess\n"
        "from iris_adapters.smoke_test.interruption import leave_at_once\n"
        "job = subprocess.Popen(['sh', '-c', 'sleep 300 & wait'], start_new_session=True)\n"
        "leave_at_once(130, 'bye')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=20)
    # That it came back is the proof: the job's processes have the pipes too, and those are read to their end.
    assert (done.returncode, done.stderr) == (130, "bye\n")
