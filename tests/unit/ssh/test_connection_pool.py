"""How the pool makes connections: how many at once, and not all in the same moment."""

from __future__ import annotations

import threading
from typing import Any

from iris_adapters.fakes import FakeClock, make_host
from iris_adapters.ssh.connection import ConnectionPool
from iris_adapters.ssh.workers import Workers
from iris_core.config import SshConfig
from iris_core.errors import HostUnreachableError
from tests.lab.processes import wait_until

SECONDS = 5.0  # more than anything here takes


class Connector:
    """Lets nobody in, once `open` is set; tells who has knocked."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.knocked: list[str] = []

    def connect(self, host: Any, *_: object) -> Any:
        self.knocked.append(host.name)
        self.open.wait(SECONDS)
        raise HostUnreachableError("no", host=host.name)


def test_connects_at_the_same_time_are_spread() -> None:
    """The first knocks at once; the others each wait their part of a tenth of a second, and no more than so many are under way."""
    clock, connector, failures = FakeClock(), Connector(), threading.Semaphore(0)
    untyped: Any = connector
    jitters = iter([0.3, 0.9])
    pool = ConnectionPool(
        SshConfig(most_connects=3), clock, untyped, Workers("test", 1), jitter=lambda: next(jitters, 0.0)
    )

    def lease(name: str) -> None:
        pool.lease(make_host(name), lambda _link: None, lambda _error: failures.release(), session=True)

    lease("one")
    wait_until(lambda: connector.knocked == ["one"], SECONDS, "its turn")
    for name in ("two", "three", "four"):
        lease(name)
    clock.wait_until_waiting(2)
    clock.advance(0.031)
    wait_until(lambda: len(connector.knocked) == 2, SECONDS, "its turn")
    clock.advance(0.058)
    assert len(connector.knocked) == 2
    clock.advance(0.002)
    wait_until(lambda: len(connector.knocked) == 3, SECONDS, "its turn")
    connector.open.set()
    assert all(failures.acquire(timeout=SECONDS) for _ in range(4))
    assert connector.knocked[-1] == "four"
    for thread in pool.close():
        thread.join(SECONDS)


class Peer:
    """One end of a connection that is made, as the pool sees it: it answers what it is asked, or not."""

    def __init__(self, clock: FakeClock) -> None:
        self.answers = True
        self.asked: list[float] = []
        self.looks = 0
        self.sends_at_once = True
        self._clock = clock
        self._heard_at = clock.monotonic()

    @property
    def packets(self) -> Peer:
        return self

    @property
    def heard_at(self) -> float:
        self.looks += 1
        return self._heard_at

    def speak(self) -> None:
        self._heard_at = self._clock.monotonic()

    def ask_for_answer(self) -> None:
        self.asked.append(self._clock.monotonic())
        if self.answers:
            self.speak()

    def is_active(self) -> bool:
        return True


class TestLookingAfterConnections:
    """A peer that says nothing is asked, and one that owes an answer too long is given up; others cost next to nothing."""

    def setup_method(self) -> None:
        self.clock = FakeClock()
        self.peer = Peer(self.clock)
        self.link: Any = None
        connector: Any = self
        self.pool = ConnectionPool(SshConfig(dead_peer_seconds=10.0), self.clock, connector, Workers("test", 1))
        self.lease = self.pool.lease(make_host("one"), self.ready, lambda _error: None, session=True)
        wait_until(lambda: self.link is not None, SECONDS, "the connection")
        self.began_at = self.clock.monotonic()

    def teardown_method(self) -> None:
        self.pool._transports.clear()
        for thread in self.pool.close():
            thread.join(SECONDS)

    def connect(self, *_: object) -> Peer:
        return self.peer

    def ready(self, link: Any) -> None:
        self.link = link

    def watch(self, seconds: float, *, speaks: bool = False) -> None:
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)
            if speaks:
                self.peer.speak()
            self.pool.watch()

    def test_one_that_speaks_is_not_asked_and_seldom_looked_at(self) -> None:
        self.watch(100, speaks=True)
        assert self.peer.asked == []
        assert self.peer.looks <= 4 * 100

    def test_one_that_answers_is_asked_every_quarter_of_its_time(self) -> None:
        self.watch(100)
        assert 30 <= len(self.peer.asked) <= 40
        assert not self.link.attempt.ended

    def test_one_that_does_not_answer_is_given_up_after_its_time(self) -> None:
        self.watch(20, speaks=True)
        self.peer.answers = False
        self.watch(12)
        assert [at - self.began_at for at in self.peer.asked] == [22.5]
        assert not self.link.attempt.ended
        self.watch(1)
        assert self.link.attempt.ended
        assert "has not answered for 10 s" in str(self.link.why_lost())

    def test_one_that_falls_silent_after_an_answer_has_no_more_time_for_that(self) -> None:
        self.watch(3)
        assert len(self.peer.asked) == 1
        self.peer.answers = False
        self.watch(13)
        assert self.link.attempt.ended

    def test_an_idle_one_is_let_go(self) -> None:
        self.watch(5)
        self.lease.release()
        self.watch(29)
        assert not self.link.attempt.ended
        self.watch(1.5)
        assert self.link.attempt.ended
        looks = self.peer.looks
        self.watch(10)
        assert self.peer.looks == looks

    def test_one_that_is_not_made_in_time_is_given_up(self) -> None:
        reached = threading.Event()
        go_on = threading.Event()

        def connect(*_: object) -> Any:
            reached.set()
            go_on.wait(SECONDS)
            raise HostUnreachableError("too late", host="two")

        self.connect = connect  # type: ignore[method-assign]
        links: list[Any] = []
        links.append(self.pool.lease(make_host("two"), lambda _link: None, lambda _error: None, session=True).link)
        assert reached.wait(SECONDS)
        self.watch(SshConfig().connect_timeout_seconds)
        assert not links[0].attempt.expired
        self.watch(1)
        assert links[0].attempt.expired
        go_on.set()
