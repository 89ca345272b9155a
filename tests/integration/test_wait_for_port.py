"""Waiting for a port, with real sockets on loopback."""

from __future__ import annotations

import socket
import threading
import time

from iris_adapters.debug import wait_for_port


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert isinstance(port, int)
        return port


def test_a_port_that_accepts_is_found_at_once() -> None:
    """Also where no time is given at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert wait_for_port(server.getsockname()[1], host="127.0.0.1", timeout=0.0)


def test_localhost_is_the_default() -> None:
    """By whichever family of addresses it listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert wait_for_port(server.getsockname()[1], timeout=5.0)


def test_a_port_that_opens_later_is_waited_for() -> None:
    """The wait ends soon after it opens."""
    port = free_port()
    opened: list[socket.socket] = []
    timer = threading.Timer(0.3, lambda: opened.append(socket.create_server(("127.0.0.1", port))))
    timer.start()
    try:
        assert wait_for_port(port, host="127.0.0.1", timeout=10.0)
        assert opened
    finally:
        timer.join()
        for server in opened:
            server.close()


def test_a_port_that_stays_closed_is_given_up_in_time() -> None:
    """False, when the time is over."""
    started = time.monotonic()
    assert not wait_for_port(free_port(), host="127.0.0.1", timeout=0.3)
    assert 0.3 <= time.monotonic() - started < 2.0
