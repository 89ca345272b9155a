"""Connections that are shared: made when first needed, counted, made anew after a loss, let go when idle."""

from __future__ import annotations

import heapq
import random
import threading
import weakref
from functools import partial
from typing import TYPE_CHECKING, Final

from iris_adapters.ssh.attempt import Attempt
from iris_adapters.ssh.errors import described, let_go
from iris_adapters.ssh.heap import give_back_heap
from iris_adapters.ssh.link import Lease, Link
from iris_adapters.ssh.workers import Workers
from iris_core.errors import ConnectionLostError, RemoteShellError

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_adapters.ssh.connecting import Connector
    from iris_adapters.ssh.link import Failed, Ready
    from iris_adapters.ssh.transport import IrisTransport
    from iris_core.config import SshConfig
    from iris_core.model import Host
    from iris_core.ports.clock import Clock

_MOST_SESSIONS: Final = 8  # of one connection; sshd's own limit (MaxSessions) is 10 unless it is told otherwise
_MANY_CONNECTS: Final = 100  # after which the heap is given back, once there were none for so long:
_REST_SECONDS: Final = 5.0
_JITTER_SECONDS: Final = 0.1  # a gateway that all go through drops logins that come all at once (sshd's MaxStartups)
_IDLE_SECONDS: Final = 30.0  # an unused connection is kept so long: the next command saves a key exchange and a login
_QUIET_SHARE: Final = 4  # a peer is asked for an answer after a quarter of the time that it may owe one
_LOOK_SHARE: Final = 10  # and looked at again after a tenth of it, whether it has given one


class ConnectionPool:
    """All connections of a shell.

    Args:
        config: how hosts are reached.
        clock: tells how long a connection is idle or silent.
        connector: makes connections.
        workers: where those who lease are called back.
        jitter: gives numbers from 0 to 1, to spread connects that are made at the same time.
    """

    def __init__(
        self,
        config: SshConfig,
        clock: Clock,
        connector: Connector,
        workers: Workers,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._config = config
        self._clock = clock
        self._jitter = jitter
        self._connector = connector
        self._workers = workers
        self._connecting = Workers("iris-ssh-connect", config.most_connects)
        self._lock = threading.Lock()
        self._links: dict[Host, list[Link]] = {}
        self._looks: list[tuple[float, int, weakref.ref[Link]]] = []  # a heap: when to look at which next
        self._look_number = 0
        self._transports: set[IrisTransport] = set()
        self._made = 0  # connections since the heap was given back
        self._made_at = 0.0
        self._closed = threading.Event()
        self._under_way = 0  # attempts to connect

    def lease(self, host: Host, ready: Ready, failed: Failed, *, session: bool) -> Lease:
        """Ask for a connection to `host`. Returns at once; then one of the two is called, on another thread.

        Args:
            host: the far end.
            ready: called with the connection. It must not wait for the far side if a session is asked for.
            failed: called with what prevented it; the lease need not be released then.
            session: whether a session will be opened on it; a peer does not allow many on one connection.
        """
        with self._lock:
            link = next(
                (link for link in self._links.get(host, ()) if not session or link.sessions < _MOST_SESSIONS), None
            )
            is_new = link is None
            if link is None:
                monotonic = self._clock.monotonic
                link = Link(host, Attempt(self._config.connect_timeout_seconds, monotonic), monotonic)
                if not self._closed.is_set():
                    self._links.setdefault(host, []).append(link)
                    self._look_later(link, link.idle_since)
            lease = Lease(link, self, ready, failed, session=session)
            link.leases.add(lease)
            closed, is_open = self._closed.is_set(), link.is_open
        if closed:
            self._workers.submit(lambda: failed(shell_closed(host)))
        elif is_new:
            self._connecting.submit(lambda: self._make(link))
        elif is_open and not (session and link.transport.call_soon(lambda: ready(link))):
            self._workers.submit(lambda: ready(link))
        return lease

    def release(self, lease: Lease) -> None:
        """See `Lease.release`."""
        link = lease.link
        with self._lock:
            link.leases.discard(lease)
            link.idle_since = self._clock.monotonic()
            given_up = not link.leases and not link.is_open
            if given_up:
                self._forget(link)
        if given_up:
            link.stop()

    def watch(self) -> None:
        """Look after those whose time it is: end attempts that take too long, silent peers, idle connections."""
        now = self._clock.monotonic()
        links: list[Link] = []
        with self._lock:
            while self._looks and self._looks[0][0] <= now:
                link = heapq.heappop(self._looks)[2]()
                if link is not None and not link.forgotten:
                    links.append(link)
            at_rest = self._made >= _MANY_CONNECTS and now - self._made_at >= _REST_SECONDS
            if at_rest:
                self._made = 0
        if at_rest:
            give_back_heap()
        looks = [(self._look_at(link, now), link) for link in links]
        with self._lock:
            for at, link in looks:
                self._look_later(link, at)

    def close(self) -> list[threading.Thread]:
        """End everything. Returns the threads that are about to end."""
        with self._lock:
            self._closed.set()
            links = [link for group in self._links.values() for link in group]
            self._links.clear()
            self._looks.clear()
            threads = [transport for transport in self._transports if transport.is_alive()]
        for link in links:
            link.lose(shell_closed(link.host))
        return [*threads, *self._connecting.threads()]

    def _make(self, link: Link) -> None:
        with self._lock:
            self._under_way += 1
            alone = self._under_way == 1
        if not alone:
            self._clock.wait(self._closed, self._jitter() * _JITTER_SECONDS)
        try:
            self._try(link)
        finally:
            with self._lock:
                self._under_way -= 1

    def _try(self, link: Link) -> None:
        with self._lock:
            if not link.leases:
                return
            link.attempt.begin()
        try:
            transport = self._connector.connect(link.host, link.attempt, lambda: self._was_ended(link))
        except RemoteShellError as error:
            let_go(error)
            self._failed(link, error)
            return
        with self._lock:
            self._made += 1
            self._made_at = self._clock.monotonic()
            link.open(transport, self._made_at)
            self._transports.add(transport)
            leases = set(link.leases)
        if not transport.is_active():  # it ended before anybody was told that it began
            self._was_ended(link)
        for lease in leases:
            if lease.session:
                lease.ready(link)
            else:
                self._workers.submit(partial(lease.ready, link))

    def _failed(self, link: Link, error: RemoteShellError) -> None:
        with self._lock:
            self._forget(link)
            leases, link.leases = link.leases, set()
        for lease in leases:
            lease.failed(error)

    def _was_ended(self, link: Link) -> None:
        """On the transport's thread. While it connects, the attempt reports what went wrong."""
        with self._lock:
            if not link.is_open:
                return
            self._forget(link)
            self._transports.discard(link.transport)
        link.attempt.end()  # what else belongs to it: gateways, proxies
        link.was_ended()

    def _forget(self, link: Link) -> None:
        link.forgotten = True
        group = self._links.get(link.host, [])
        if link in group:
            group.remove(link)
            if not group:
                del self._links[link.host]

    def _look_later(self, link: Link, at: float) -> None:
        if not link.forgotten:
            self._look_number += 1
            heapq.heappush(self._looks, (at, self._look_number, weakref.ref(link)))

    def _look_at(self, link: Link, now: float) -> float:
        """Look after one; returns when to do so next."""
        packets, patience = link.packets, self._config.dead_peer_seconds
        if packets is None or not link.is_open:
            link.attempt.end_if_late()
            return now
        if not link.leases:  # seldom: without the lock
            self._end_if_idle(link, now)
        if link.asked_at is not None and packets.heard_at >= link.asked_at:
            link.asked_at = None
        if link.asked_at is None:
            due = packets.heard_at + patience / _QUIET_SHARE
            if now < due:
                return due if link.leases else now
            link.asked_at = now
            if link.transport.sends_at_once:
                link.transport.ask_for_answer()
            else:
                self._workers.submit(link.transport.ask_for_answer)
        elif now - link.asked_at >= patience:
            link.lose(
                ConnectionLostError(
                    f"{described(link.host)} has not answered for {patience:g} s: the network dropped, or it hangs",
                    host=link.host.name,
                )
            )
        return min(now + patience / _LOOK_SHARE, link.asked_at + patience)

    def _end_if_idle(self, link: Link, now: float) -> None:
        with self._lock:
            idle = not link.leases and now - link.idle_since >= _IDLE_SECONDS
            if idle:
                self._forget(link)
        if idle:
            link.stop()


def shell_closed(host: Host) -> ConnectionLostError:
    """What users of a closed shell get."""
    return ConnectionLostError(f"{host.name}: the shell is closed", host=host.name)
