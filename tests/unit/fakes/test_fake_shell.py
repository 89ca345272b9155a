from __future__ import annotations

import pytest

from iris_adapters.fakes import ExchangeScript, FakeCommand, FakeProcess, FakeShell, RunScript, StartScript, make_host
from iris_core.errors import (
    AuthenticationFailedError,
    ConnectionLostError,
    HostUnreachableError,
    LocalPortInUseError,
)
from iris_core.model import CommandResult
from tests.unit.fakes.recorder import Recorder

ONE, TWO = make_host("one"), make_host("two")


def test_commands_are_answered_by_host_and_words() -> None:
    """A script answers where its words stand side by side in the command, on its host only."""
    shell = FakeShell(
        runs=[RunScript(host="one", argv=("docker", "ps"), answers=[CommandResult(exit_status=0, stdout=b"yes")])]
    )

    assert shell.run(ONE, ["sudo", "docker", "ps", "-a"], timeout_seconds=1).stdout == b"yes"
    assert shell.run(ONE, ["docker", "system", "ps"], timeout_seconds=1).exit_status == 127
    assert shell.run(TWO, ["docker", "ps"], timeout_seconds=1).exit_status == 127


def test_answers_follow_one_another_and_the_last_stays() -> None:
    """A script can say: fail first, then answer for ever."""
    shell = FakeShell(runs=[RunScript(answers=[ConnectionLostError("gone", host="one"), _echo])])

    with pytest.raises(ConnectionLostError, match="gone"):
        shell.run(ONE, ["cat"], timeout_seconds=1, stdin=b"x")
    assert shell.run(ONE, ["cat"], timeout_seconds=1, stdin=b"y").stdout == b"y"
    assert shell.run(ONE, ["cat"], timeout_seconds=1, stdin=b"z").stdout == b"z"


def _echo(command: FakeCommand) -> CommandResult:
    return CommandResult(exit_status=0, stdout=command.stdin)


def test_the_last_script_that_fits_counts() -> None:
    """A test can narrow what a fixture has scripted."""
    shell = FakeShell(runs=[RunScript(answers=[CommandResult(exit_status=0)])])
    shell.script(RunScript(argv=("false",), answers=[CommandResult(exit_status=1)]))

    assert shell.run(ONE, ["true"], timeout_seconds=1).exit_status == 0
    assert shell.run(ONE, ["false"], timeout_seconds=1).exit_status == 1


def test_commands_are_recorded() -> None:
    """What was run, where, with what, can be asked afterwards."""
    shell = FakeShell()

    shell.run(ONE, ["echo", "a b"], timeout_seconds=3, stdin=b"in")

    assert shell.commands == [FakeCommand(ONE, ("echo", "a b"), 3, b"in")]


def test_a_broken_host_fails_every_way_until_healed() -> None:
    """Commands and forwards raise, start tells its listener, and a healed host works again."""
    shell = FakeShell(unreachable=["one"], runs=[RunScript(answers=[CommandResult(exit_status=0)])])
    listener = Recorder()

    with pytest.raises(HostUnreachableError):
        shell.run(ONE, ["true"], timeout_seconds=1)
    with pytest.raises(HostUnreachableError), shell.forward(ONE, 80):
        pytest.fail("the forward must not open")
    process = shell.start(ONE, ["cat"], listener)
    assert listener.heard == [("error", "HostUnreachableError")]
    assert not process.running
    assert shell.started == []

    shell.heal_host("one")
    assert shell.run(ONE, ["true"], timeout_seconds=1).exit_status == 0


def test_a_host_can_fail_with_another_error() -> None:
    """A refused key is not an unreachable host."""
    shell = FakeShell()
    shell.break_host("one", AuthenticationFailedError("refused", host="one"))

    with pytest.raises(AuthenticationFailedError):
        shell.run(ONE, ["true"], timeout_seconds=1)


def test_drop_fails_what_runs_on_the_host_only() -> None:
    """A lost connection ends the processes of its host and no others."""
    shell = FakeShell()
    on_one, on_two = Recorder(), Recorder()
    shell.start(ONE, ["cat"], on_one)
    shell.start(TWO, ["cat"], on_two)

    shell.drop("one")

    assert on_one.heard == [("error", "ConnectionLostError")]
    assert on_two.heard == []
    assert [process.host for process in shell.running()] == [TWO]


def test_a_handler_plays_the_process() -> None:
    """A handler greets, answers each write, and ends the process, all before the calls return."""

    def shout(process: FakeProcess) -> None:
        process.emit_stdout(b"hello")

        def answer(data: bytes) -> None:
            process.emit_stdout(data.upper())
            if data == b"bye":
                process.exit(3)

        process.when_written(answer)

    shell = FakeShell(starts=[StartScript(argv=("shout",), handler=shout)])
    listener = Recorder()

    process = shell.start(ONE, ["shout"], listener)
    process.write(b"abc")
    process.write(b"bye")
    process.write(b"too late")

    assert listener.heard == [("out", b"hello"), ("out", b"ABC"), ("out", b"BYE"), ("exit", 3)]
    assert process.stdin == b"abcbye"


def test_forwards_are_recorded_and_answer_by_port() -> None:
    """An exchange is answered by what listens at the port, also a dead one."""
    shell = FakeShell(exchanges=[ExchangeScript(port=80, answers=[b"first", lambda request: request[::-1]])])

    with shell.forward(ONE, 80) as forward, shell.forward(ONE, 81) as dead:
        assert forward.exchange(b"abc", 1) == b"first"
        assert forward.exchange(b"abc", 1) == b"cba"
        with pytest.raises(HostUnreachableError, match="port 81 of one"):
            dead.exchange(b"abc", 1)
        assert forward.is_open
        assert forward.local_port != dead.local_port

    assert [item.is_open for item in shell.forwards] == [False, False]
    assert shell.forwards[0].requests == [b"abc", b"abc"]


def test_a_taken_local_port_is_refused_until_it_is_free() -> None:
    """Two forwards cannot have the same local port at the same time."""
    shell = FakeShell(taken_ports=[9000])

    with pytest.raises(LocalPortInUseError), shell.forward(ONE, 80, 9000):
        pytest.fail("the forward must not open")
    with shell.forward(ONE, 80, 9001) as first:
        assert first.local_port == 9001
        with pytest.raises(LocalPortInUseError), shell.forward(TWO, 80, 9001):
            pytest.fail("the forward must not open")
    with shell.forward(TWO, 80, 9001) as second:
        assert second.local_port == 9001


def test_close_ends_everything() -> None:
    """A closed shell has no process, no forward, and makes no connection."""
    shell = FakeShell()
    listener = Recorder()
    process = shell.start(ONE, ["cat"], listener)
    with shell.forward(ONE, 80) as forward:
        shell.close()
        shell.close()
        assert not forward.is_open

    assert shell.closed
    assert process.closed
    assert listener.heard == []
    with pytest.raises(ConnectionLostError, match="closed"):
        shell.run(ONE, ["true"], timeout_seconds=1)


def test_a_host_is_broken_by_its_name_or_its_address() -> None:
    """The same machine may be reached elsewhere."""
    shell = FakeShell(unreachable=[ONE.address])

    with pytest.raises(HostUnreachableError), shell.forward(ONE, 80):
        pytest.fail("the forward must not open")
    shell.heal_host(ONE.address)
    with shell.forward(ONE, 80):
        pass
