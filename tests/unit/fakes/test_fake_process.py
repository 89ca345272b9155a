from __future__ import annotations

import pytest

from iris_adapters.fakes import FakeProcess, FakeShell, make_host
from iris_core.errors import HostKeyError
from tests.unit.fakes.recorder import Recorder

HOST = make_host("one")


@pytest.fixture
def listener() -> Recorder:
    return Recorder()


@pytest.fixture
def process(listener: Recorder) -> FakeProcess:
    return FakeShell().start(HOST, ["cat"], listener)


def test_output_and_end_reach_the_listener_at_once(process: FakeProcess, listener: Recorder) -> None:
    """What the host does is heard before the call returns, in order."""
    process.emit_stdout(b"a")
    process.emit_stderr(b"b")
    assert listener.heard == [("out", b"a"), ("err", b"b")]

    process.exit(2)
    assert listener.heard[2:] == [("exit", 2)]
    assert not process.running


def test_nothing_is_not_output(process: FakeProcess, listener: Recorder) -> None:
    """A listener is never called with no bytes."""
    process.emit_stdout(b"")

    assert listener.heard == []


def test_a_script_that_goes_on_after_the_exit_is_told(process: FakeProcess) -> None:
    """A script that breaks the contract fails, instead of being ignored."""
    process.exit()

    with pytest.raises(RuntimeError, match="after it has exited"):
        process.emit_stdout(b"x")
    with pytest.raises(RuntimeError, match="after it has exited"):
        process.exit()


def test_what_is_paused_is_held_back_and_arrives_in_order(process: FakeProcess, listener: Recorder) -> None:
    """Output and exit wait for resume_reading."""
    process.pause_reading()
    process.emit_stdout(b"a")
    process.emit_stderr(b"b")
    process.exit(0)
    assert process.paused
    assert listener.heard == []

    process.resume_reading()

    assert listener.heard == [("out", b"a"), ("err", b"b"), ("exit", 0)]


def test_a_listener_may_pause_in_the_middle(process: FakeProcess, listener: Recorder) -> None:
    """A pause during the delivery of what was held keeps the rest back."""
    process.pause_reading()
    for data in (b"1", b"2", b"3"):
        process.emit_stdout(data)
    listener.react = lambda heard: process.pause_reading() if heard == ("out", b"1") else None

    process.resume_reading()
    assert listener.heard == [("out", b"1")]

    process.resume_reading()
    assert listener.heard == [("out", b"1"), ("out", b"2"), ("out", b"3")]


def test_a_lost_connection_loses_what_was_held_back(process: FakeProcess, listener: Recorder) -> None:
    """An error is not delayed by a pause, and nothing follows it."""
    process.pause_reading()
    process.emit_stdout(b"lost")
    process.fail(HostKeyError("changed", host="one"))
    process.resume_reading()
    process.emit_stdout(b"late")
    process.fail()

    assert listener.heard == [("error", "HostKeyError")]


def test_nothing_arrives_after_close(process: FakeProcess, listener: Recorder) -> None:
    """Closing is recorded, told to the handler once, and silences the process."""
    told: list[str] = []
    process.when_closed(lambda: told.append("closed"))

    process.close()
    process.close()
    process.emit_stdout(b"x")
    process.fail()
    process.write(b"x")
    process.exit()

    assert process.closed
    assert not process.running
    assert told == ["closed"]
    assert listener.heard == []
    assert process.writes == []


def test_writes_are_recorded(process: FakeProcess) -> None:
    """The test can see what was sent, piece by piece and as a whole."""
    process.write(b"ab")
    process.write(b"c")

    assert process.writes == [b"ab", b"c"]
    assert process.stdin == b"abc"


def test_a_listener_that_writes_is_not_called_while_it_is_being_called(
    process: FakeProcess, listener: Recorder
) -> None:
    """An answer to a write from within the listener comes after the listener has returned."""
    process.when_written(lambda data: process.emit_stdout(b"answer to " + data))
    listener.react = lambda heard: process.write(b"q") if heard == ("out", b"hello") else None

    process.emit_stdout(b"hello")

    assert listener.heard == [("out", b"hello"), ("out", b"answer to q")]
    assert listener.deepest == 1


def test_a_listener_that_closes_hears_no_more(process: FakeProcess, listener: Recorder) -> None:
    """Closing from within the listener drops what was still to come."""
    process.pause_reading()
    process.emit_stdout(b"1")
    process.emit_stdout(b"2")
    listener.react = lambda _: process.close()

    process.resume_reading()

    assert listener.heard == [("out", b"1")]
