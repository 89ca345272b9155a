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
