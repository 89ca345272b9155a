from __future__ import annotations

import shlex
import threading
import weakref
from base64 import decodebytes

import pytest
from fabric import Config, Connection
from paramiko.hostkeys import HostKeys as ParamikoHostKeys
from paramiko.pkey import PKey

from iris_adapters.fakes import FakeClock
from iris_adapters.ssh.attempt import Attempt
from iris_adapters.ssh.host_connection import HostConnection, KnownKeys
from iris_adapters.ssh.process import command_line
from iris_adapters.ssh.watchdog import Watchdog
from iris_adapters.ssh.workers import Workers

HOST_KEYS = {
    "ecdsa-sha2-nistp256": b"AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBCofdrfDytPCCx8XTrgfFIkMHOXn/CTJLs5tPyLfh0bXXvdNNEeAy1OhtGTk6X1jn4w6tl0E3yY/OvhNB7dh3TU=",  # noqa: E501 - a key is one word
    "ssh-ed25519": b"AAAAC3NzaC1lZDI1NTE5AAAAIL4yelLaO7Z/AvGtuzAMmCVz6iyRYTJ5Zvd7dZkEEDZh",
}


def test_making_a_connection_leaves_the_shared_configuration_alone() -> None:
    """Merging it anew leaves it empty for a moment, in which connecting on other threads fails."""
    config = Config(lazy=True)
    config.load_ssh_config()
    assert "inline_ssh_env" in config
    merged = config._config  # Invoke has no other way to tell whether it was merged again

    HostConnection("127.0.0.1", user="u", config=config, forward_agent=False, connect_timeout=1)

    assert config._config is merged


def test_a_connection_has_the_attributes_that_fabric_gives_it() -> None:
    """Set another way, and none of them put into the configuration."""
    config = Config(lazy=True)
    config.load_ssh_config()
    ours, theirs = (
        vars(kind("127.0.0.1", user="u", port=2222, config=config, forward_agent=False, connect_timeout=1))
        for kind in (HostConnection, Connection)
    )
    simple = (str, int, bool, type(None), dict)
    assert ours.keys() - {"inline_ssh_env"} == theirs.keys() - {"inline_ssh_env"}
    assert {key: value for key, value in ours.items() if isinstance(value, simple)}.items() >= {
        key: value for key, value in theirs.items() if isinstance(value, simple) and not key.startswith("_")
    }.items()
    assert ours["user"] == "u"


def test_host_keys_are_looked_up_as_paramiko_does() -> None:
    """By name and type, in the order in which they were added: the first type is the one that the host is asked for."""
    keys = {kind: PKey.from_type_string(kind, decodebytes(data)) for kind, data in HOST_KEYS.items()}
    ours, theirs = KnownKeys(), ParamikoHostKeys()
    for known in (ours, theirs):
        for kind, key in keys.items():
            known.add("[127.0.0.2]:2222", kind, key)
        known.add("other", "ssh-ed25519", keys["ssh-ed25519"])
    for name in ("[127.0.0.2]:2222", "other"):
        found, expected = ours.get(name), theirs.get(name)
        assert expected is not None
        assert found is not None
        assert found.keys() == expected.keys()
        assert [found.get(kind) for kind in (*keys, "ssh-dss")] == [expected.get(kind) for kind in (*keys, "ssh-dss")]
    assert ours.get("127.0.0.2") is theirs.get("127.0.0.2") is None


class TestAttempt:
    def test_ending_calls_every_stop_once_the_last_first(self) -> None:
        """What was opened last is closed first."""
        attempt = Attempt(10, FakeClock().monotonic)
        stopped: list[str] = []
        attempt.guard(lambda: stopped.append("socket"))
        attempt.guard(lambda: stopped.append("transport"))

        attempt.end()
        attempt.end()

        assert stopped == ["transport", "socket"]

    def test_what_comes_after_the_end_is_stopped_at_once(self) -> None:
        """A thread that goes on connecting finds out at its next step."""
        attempt = Attempt(10, FakeClock().monotonic)
        attempt.end()
        stopped: list[str] = []

        with pytest.raises(ConnectionAbortedError):
            attempt.guard(lambda: stopped.append("socket"))

        assert stopped == ["socket"]

    def test_the_time_runs_from_its_turn_and_not_while_something_else_is_waited_for(self) -> None:
        """Waiting for a place, and asking the API for keys, cost the host none of its time."""
        clock = FakeClock()
        attempt = Attempt(10, clock.monotonic)
        clock.advance(100)
        attempt.end_if_late()
        attempt.begin()
        clock.advance(6)
        with attempt.paused():
            clock.advance(100)
            attempt.end_if_late()
        clock.advance(3)
        attempt.end_if_late()
        ended_before_its_time = attempt.ended

        clock.advance(2)
        attempt.end_if_late()

        assert (ended_before_its_time, attempt.ended, attempt.expired) == (False, True, True)

    def test_success_has_no_deadline(self) -> None:
        """A connection may last."""
        clock = FakeClock()
        attempt = Attempt(10, clock.monotonic)
        attempt.begin()
        attempt.succeed()
        clock.advance(1000)

        attempt.end_if_late()

        assert not attempt.ended


class TestWorkers:
    def test_calls_run_on_at_most_so_many_threads_and_none_stays(self) -> None:
        """The threads bear the name, and end when there is nothing to do."""
        workers = Workers("iris-ssh-test", 2)
        may_end = threading.Event()
        names: set[str] = set()
        done = threading.Semaphore(0)

        def call() -> None:
            names.add(threading.current_thread().name)
            may_end.wait(5)
            done.release()

        for _ in range(6):
            workers.submit(call)
        threads = workers.threads()
        may_end.set()
        for _ in range(6):
            assert done.acquire(timeout=5)
        for thread in threads:
            thread.join(5)

        assert names == {"iris-ssh-test-1", "iris-ssh-test-2"}
        assert workers.threads() == []

    def test_a_call_that_raises_is_logged_and_the_next_one_runs(self, caplog: pytest.LogCaptureFixture) -> None:
        """One mistake does not stop the rest."""
        workers = Workers("iris-ssh-test", 1)
        done = threading.Event()

        def fail() -> None:
            raise ValueError("a mistake")

        workers.submit(fail)
        workers.submit(done.set)

        assert done.wait(5)
        assert "a mistake" in caplog.text

    def test_a_thread_that_waits_for_more_keeps_nothing_of_the_last_call(self) -> None:
        """Which may be a connection that has ended."""
        workers = Workers("iris-ssh-test", 1, waiting=1)
        freed = threading.Event()

        def used() -> None:
            """What is called."""

        weakref.finalize(used, freed.set)
        workers.submit(used)
        del used

        assert freed.wait(5)
        [thread] = workers.close()
        thread.join(5)


class TestWatchdog:
    def test_it_looks_again_after_a_failure_until_it_is_stopped(self) -> None:
        """One bad look must not leave all connections unguarded."""
        looks = 0
        enough = threading.Event()

        def look() -> None:
            nonlocal looks
            looks += 1
            if looks == 1:
                raise ValueError("a mistake")
            enough.set()

        watchdog = Watchdog(FakeClock(auto_advance=True), look, 1)
        watchdog.start()
        watchdog.start()
        assert enough.wait(5)

        (thread,) = watchdog.stop()
        thread.join(5)

        assert not thread.is_alive()


@pytest.mark.parametrize("argv", [["echo", "a b"], ["printf", "%s", "a'b\"c\n$x"], ["true", ""], ["tpu", "é"]])
def test_a_command_line_is_one_word_per_argument(argv: list[str]) -> None:
    """A POSIX shell takes it apart into the same arguments."""
    assert shlex.split(command_line(argv)) == argv
