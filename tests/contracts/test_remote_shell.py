"""What every `RemoteShell` must do. See `remote_shell_cases` for the cases and for the commands that their hosts know."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import pytest

from iris_core.errors import (
    AuthenticationFailedError,
    CommandTimeoutError,
    ConnectionLostError,
    HostKeyError,
    HostUnreachableError,
    LocalPortInUseError,
    RemoteShellError,
)
from iris_core.ports.remote_shell import RemoteShell
from tests.contracts.remote_shell_cases import (
    BOTH_STREAMS,
    CAT,
    COUNT,
    ENDLESS,
    FLOOD,
    FLOOD_BYTES,
    KILLED,
    PRINT_ARGUMENTS,
    REFUSING_ADDRESS,
    FabricCase,
    FakeCase,
    LocalCase,
    Recorder,
    ShellCase,
)
from tests.support.sshd import Sshd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from iris_core.model import Host
    from iris_core.ports.remote_shell import RemoteProcess

FABRIC = pytest.param("fabric", marks=pytest.mark.lab)


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with Sshd(tmp_path_factory.mktemp("sshd"), options=REFUSING_ADDRESS) as server:
        yield server


def make_case(kind: str, request: pytest.FixtureRequest, directory: Path) -> FakeCase | FabricCase | LocalCase:
    if kind == "fabric":
        return FabricCase(request.getfixturevalue("sshd"), directory)
    return FakeCase() if kind == "fake" else LocalCase()


@pytest.fixture(params=["fake", FABRIC])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ShellCase]:
    made = make_case(request.param, request, tmp_path)
    assert not isinstance(made, LocalCase)
    yield made
    made.close()


@pytest.fixture(params=["fake", FABRIC, "local"])
def any_case(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeCase | FabricCase | LocalCase]:
    made = make_case(request.param, request, tmp_path)
    yield made
    made.close()


def error_of_start(case: ShellCase, host: Host) -> int | RemoteShellError:
    recorder = Recorder()
    case.shell.start(host, CAT, recorder)
    return recorder.end()


class TestRun:
    def test_output_and_exit_status_come_back_as_they_are(self, case: ShellCase) -> None:
        """A non-zero exit status is a result, and the two streams stay apart."""
        result = case.shell.run(case.host, BOTH_STREAMS, timeout_seconds=20)

        assert (result.exit_status, result.stdout, result.stderr) == (3, b"out", b"err")

    def test_stdin_reaches_the_command_to_the_last_byte(self, case: ShellCase) -> None:
        """The command reads exactly these bytes and then the end, however many they are."""
        data = bytes(range(256)) * 12_000

        assert case.shell.run(case.host, CAT, timeout_seconds=20, stdin=data).stdout == data

    def test_a_death_by_signal_is_128_and_its_number(self, case: ShellCase) -> None:
        """What a signal ended looks as it does in a shell."""
        assert case.shell.run(case.host, KILLED, timeout_seconds=20).exit_status == 137

    @pytest.mark.parametrize(
        "argument",
        [
            "two words",
            "'single' \"double\"",
            "a\nb",
            "$HOME `id` $(id)",
            r"back\slash",
            "*?[a]",
            "",
            "~",
            "-n",
            "é€🜨",
            "a;b|c&d>e",
            "!x",
        ],
    )
    def test_an_argument_arrives_unchanged(self, case: ShellCase, argument: str) -> None:
        """No shell on the way takes an argument apart or expands it."""
        result = case.shell.run(case.host, [*PRINT_ARGUMENTS, argument, "next"], timeout_seconds=20)

        assert result.stdout.decode() == f"<{argument}>\n<next>\n"

    def test_a_command_that_takes_too_long_is_an_error_with_its_data(self, case: ShellCase) -> None:
        """The time given is the time waited, and the error says which command and how long."""
        with pytest.raises(CommandTimeoutError) as caught:
            case.shell.run(case.host, ENDLESS, timeout_seconds=0.2)

        assert (caught.value.host, caught.value.argv, caught.value.seconds) == (case.host.name, ENDLESS, 0.2)

    def test_after_close_nothing_runs(self, any_case: FakeCase | FabricCase | LocalCase) -> None:
        """A closed shell says so and does not connect again; closing twice is fine."""
        any_case.shell.close()
        any_case.shell.close()

        with pytest.raises(RemoteShellError):
            any_case.shell.run(any_case.host, CAT, timeout_seconds=20)


class TestStart:
    def test_bytes_come_in_order_and_before_the_exit(self, case: ShellCase) -> None:
        """All output is handed over, once and in order, then the exit status, then nothing; calls do not overlap."""
        recorder = Recorder()

        case.shell.start(case.host, COUNT, recorder)

        assert recorder.end() == 0
        assert recorder.stdout == "".join(f"{number}\n" for number in range(1, 20001)).encode()
        assert (recorder.calls_after_end, recorder.overlaps, recorder.ends) == (0, 0, [0])

    def test_where_there_is_no_such_socket_the_command_runs(self, case: ShellCase) -> None:
        """What was written before reaches it."""
        recorder = Recorder()
        process = case.shell.start(case.host, CAT, recorder, socket_path="/nowhere/engine.sock")
        process.write(b"through the command")

        assert recorder.wait_until(lambda: recorder.stdout == b"through the command")
        process.close()

    def test_the_streams_stay_apart(self, case: ShellCase) -> None:
        """Standard error does not mix into standard output."""
        recorder = Recorder()

        case.shell.start(case.host, BOTH_STREAMS, recorder)

        assert recorder.end() == 3
        assert (recorder.stdout, recorder.stderr) == (b"out", b"err")

    def test_a_death_by_signal_is_128_and_its_number(self, case: ShellCase) -> None:
        """As with `run`."""
        recorder = Recorder()

        case.shell.start(case.host, KILLED, recorder)

        assert recorder.end() == 137

    def test_what_is_written_reaches_the_process_in_order(self, case: ShellCase) -> None:
        """Writes queue up, also those made before the process has started, and return at once."""
        recorder = Recorder()
        process = case.shell.start(case.host, CAT, recorder)
        pieces = [str(number).encode() * 100 for number in range(500)]

        for piece in pieces:
            process.write(piece)

        expected = b"".join(pieces)
        assert recorder.wait_until(lambda: recorder.received >= len(expected))
        assert recorder.stdout == expected
        process.close()

    def test_a_paused_process_is_held_back_and_nothing_is_lost(self, case: ShellCase) -> None:
        """After a pause a few packets may still arrive, not the flood; resuming brings every byte and the exit."""
        started: list[RemoteProcess] = []
        is_started = threading.Event()

        def pause() -> None:
            if is_started.wait(10 if isinstance(case, FabricCase) else 0):
                started[0].pause_reading()

        recorder = Recorder(on_first_bytes=pause)
        if isinstance(case, FakeCase):  # it emits within `start`, before a test can hold the process
            recorder = Recorder(on_first_bytes=lambda: case.fake.started[0].pause_reading())  # noqa: PLW0108 - not there yet
        process = case.shell.start(case.host, FLOOD, recorder)
        started.append(process)
        is_started.set()

        assert recorder.wait_until(lambda: recorder.received > 0)
        recorder.wait_until(lambda: recorder.received > 4 << 20, seconds=0.5 if isinstance(case, FabricCase) else 0)
        assert recorder.received <= 4 << 20
        assert recorder.ends == []
        process.resume_reading()

        assert recorder.end(60) == 0
        assert recorder.received == FLOOD_BYTES

    def test_after_close_nothing_arrives(self, case: ShellCase) -> None:
        """A process that was given up is silent, and its methods do nothing."""
        recorder = Recorder()
        process = case.shell.start(case.host, CAT, recorder)
        process.write(b"once")
        assert recorder.wait_until(lambda: recorder.stdout == b"once")

        process.close()
        process.close()
        process.write(b"more")
        process.pause_reading()
        process.resume_reading()
        case.shell.run(case.host, CAT, timeout_seconds=20)  # so that whatever was on its way has arrived

        assert recorder.stdout == b"once"
        assert not recorder.ends

    def test_after_the_end_every_method_does_nothing(self, case: ShellCase) -> None:
        """A process that is over can be written to, paused and closed."""
        recorder = Recorder()
        process = case.shell.start(case.host, BOTH_STREAMS, recorder)
        recorder.end()

        process.write(b"late")
        process.pause_reading()
        process.resume_reading()
        process.close()

        assert (recorder.ends, recorder.calls_after_end) == ([3], 0)

    def test_a_lost_connection_is_an_error_and_the_next_start_connects_anew(self, case: ShellCase) -> None:
        """The listener hears it, once; the shell goes on."""
        recorder = Recorder()
        process = case.shell.start(case.host, CAT, recorder)
        process.write(b"alive")
        assert recorder.wait_until(lambda: recorder.stdout == b"alive")

        case.lose_connections()

        error = recorder.end()
        assert isinstance(error, ConnectionLostError)
        assert error.host == case.host.name
        assert len(recorder.ends) == 1
        assert case.shell.run(case.host, CAT, timeout_seconds=20, stdin=b"again").stdout == b"again"


class TestErrors:
    def test_a_host_that_cannot_be_reached(self, case: ShellCase) -> None:
        """`run`, `start` and `forward` say so with the same error, and name the host."""
        host = case.unreachable()

        with pytest.raises(HostUnreachableError, match=host.name):
            case.shell.run(host, CAT, timeout_seconds=20)
        with pytest.raises(HostUnreachableError), case.shell.forward(host, case.answering_port):
            pass
        assert isinstance(error_of_start(case, host), HostUnreachableError)

    def test_a_host_that_refuses_our_keys(self, case: ShellCase) -> None:
        """It is not the same as one that cannot be reached."""
        host = case.refusing()

        with pytest.raises(AuthenticationFailedError):
            case.shell.run(host, CAT, timeout_seconds=20)
        assert isinstance(error_of_start(case, host), AuthenticationFailedError)

    def test_a_host_with_another_key_than_it_should_have(self, case: ShellCase) -> None:
        """Nothing is run on it."""
        host = case.impostor()

        with pytest.raises(HostKeyError):
            case.shell.run(host, CAT, timeout_seconds=20)
        assert isinstance(error_of_start(case, host), HostKeyError)


class TestForward:
    def test_an_exchange_goes_to_the_port_and_back(self, any_case: FakeCase | FabricCase | LocalCase) -> None:
        """All that the far end sends until it closes comes back."""
        with any_case.shell.forward(any_case.host, any_case.answering_port) as forward:
            assert forward.exchange(b"hello\n", 10) == b"HELLO\n"
            assert forward.exchange(b"again\n", 10) == b"AGAIN\n"

    def test_a_port_where_nothing_listens_is_found_out(self, any_case: FakeCase | FabricCase | LocalCase) -> None:
        """That the forward itself accepts connections does not hide it."""
        with (
            any_case.shell.forward(any_case.host, any_case.silent_port) as forward,
            pytest.raises(HostUnreachableError),
        ):
            forward.exchange(b"hello\n", 10)

    @pytest.mark.parametrize("case", [FABRIC], indirect=True)
    def test_any_client_may_connect_to_the_local_port(self, case: ShellCase) -> None:
        """It is a port of 127.0.0.1 like any other while the context is open, and closed afterwards."""
        with case.shell.forward(case.host, case.answering_port) as forward:
            address = ("127.0.0.1", forward.local_port)
            with socket.create_connection(address, 10) as client:
                client.sendall(b"hello\n")
                assert client.makefile("rb").read() == b"HELLO\n"

        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(address, 10)

    @pytest.mark.parametrize("case", ["fake", FABRIC], indirect=True)
    def test_a_local_port_that_is_taken_is_an_error(self, case: ShellCase) -> None:
        """It names the port; nothing else is bound instead."""
        with (
            case.shell.forward(case.host, case.answering_port) as first,
            pytest.raises(LocalPortInUseError) as caught,
            case.shell.forward(case.host, case.answering_port, first.local_port),
        ):
            pass

        assert caught.value.port == first.local_port

    def test_a_host_that_is_elsewhere_now_is_followed_on_the_same_port(self, case: ShellCase) -> None:
        """It is asked for only when it cannot be connected to; the client that found out is served."""
        old, new, vanish = case.moving()
        asked: list[Host] = []

        def find_again() -> Host:
            asked.append(new)
            return new

        with case.shell.forward(old, case.answering_port, find_again=find_again) as forward:
            port = forward.local_port
            assert forward.exchange(b"here\n", 20) == b"HERE\n"
            assert asked == []

            vanish()
            with suppress(RemoteShellError):  # a client of the moment in which the connection is lost may be reset
                forward.exchange(b"lost\n", 20)

            assert forward.exchange(b"there\n", 20) == b"THERE\n"
            assert forward.local_port == port
            assert asked == [new]

    def test_a_host_that_is_nowhere_else_stays_unreachable(self, case: ShellCase) -> None:
        """Each client is told; none waits for ever."""
        old, _, vanish = case.moving()
        with case.shell.forward(old, case.answering_port, find_again=lambda: None) as forward:
            vanish()
            with suppress(RemoteShellError):
                forward.exchange(b"lost\n", 20)
            for _ in range(2):
                with pytest.raises(HostUnreachableError):
                    forward.exchange(b"hello\n", 20)

    def test_two_forwards_have_two_ports(self, case: ShellCase) -> None:
        """A free local port is found for each."""
        with (
            case.shell.forward(case.host, case.answering_port) as first,
            case.shell.forward(case.host, case.answering_port) as second,
        ):
            assert first.local_port != second.local_port


@pytest.mark.parametrize("any_case", [FABRIC, "fake", "local"], indirect=True)
def test_close_ends_every_thread_within_two_seconds(any_case: FakeCase | FabricCase | LocalCase) -> None:
    """Processes that run, forwards that are open and threads of the shell are over when `close` returns."""
    before = set(threading.enumerate())
    recorders = [Recorder() for _ in range(12)]
    for recorder in recorders:
        any_case.shell.start(any_case.host, CAT, recorder).write(b"x")
    with any_case.shell.forward(any_case.host, any_case.answering_port):
        if isinstance(any_case, FabricCase):
            for recorder in recorders:
                assert recorder.wait_until(partial(lambda heard: heard.stdout == b"x", recorder))
            assert {thread.name.startswith("iris-ssh-") for thread in set(threading.enumerate()) - before} == {True}
        began = time.monotonic()

        any_case.shell.close()

        assert time.monotonic() - began < 2
        assert set(threading.enumerate()) <= before


def test_each_case_implements_the_port(any_case: FakeCase | FabricCase | LocalCase) -> None:
    """The implementations have the port's methods."""
    assert isinstance(any_case.shell, RemoteShell)


@pytest.mark.parametrize("any_case", ["local"], indirect=True)
def test_the_local_shell_has_no_commands_and_no_second_port(any_case: LocalCase) -> None:
    """Asking for either is a clear error at once; a forward is the port itself."""
    shell, host = any_case.shell, any_case.host
    recorder = Recorder()

    shell.start(host, CAT, recorder).close()

    assert isinstance(recorder.end(0), HostUnreachableError)
    with pytest.raises(HostUnreachableError, match="no shell"):
        shell.run(host, CAT, timeout_seconds=20)
    with shell.forward(host, any_case.answering_port, any_case.answering_port) as forward:
        assert forward.local_port == any_case.answering_port
    with pytest.raises(LocalPortInUseError), shell.forward(host, any_case.answering_port, any_case.silent_port):
        pass
