"""A TCP proxy on loopback that misbehaves on demand: for tests of what broken networks do.

What breaks is decided by bytes that have passed, not by time, so a test that is given the same seed breaks at the same place.
"""

from __future__ import annotations

import random
import selectors
import socket
import struct
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable

_LOOPBACK_NETWORK = "127."
_MOST_PIECE_BYTES = 1 << 16
_MOST_WAITING_BYTES = 1 << 18  # of one direction; more is not read from the sender
_SLOW_TICK_SECONDS = 0.02
_RESET = struct.pack("ii", 1, 0)


class Mode(Enum):
    """What the proxy does to every connection."""

    PASS = auto()  # carry everything
    DROP = auto()  # take everything and carry nothing: the network ate it, and nobody is told
    STALL = auto()  # take nothing: the sender's buffers fill up; what was not taken is carried later
    RESET = auto()  # reset both sides, and every connection that comes
    REFUSE = auto()  # leave connections alone, but close new ones at once
    SLOW = auto()  # carry `bytes_per_second`


class Direction(Enum):
    """Which way bytes go. UP is towards the server."""

    UP = auto()
    DOWN = auto()


@dataclass(frozen=True, slots=True)
class Trigger:
    """Changes the mode when enough bytes have passed; the rest of the piece in hand is subject to the new mode.

    Attributes:
        after_bytes: of all connections together since the proxy was made.
        mode: what begins then.
        direction: which bytes count.
        pass_after_seconds: when PASS begins again; None: not by itself.
    """

    after_bytes: int
    mode: Mode
    direction: Direction = Direction.DOWN
    pass_after_seconds: float | None = None


def random_triggers(
    seed: int, count: int, most_bytes: int, modes: Iterable[Mode], pass_after_seconds: float
) -> list[Trigger]:
    """`count` triggers at random places below `most_bytes`, the same for the same seed."""
    chance = random.Random(seed)  # noqa: S311 - repeatable is what is wanted
    choices = list(modes)
    places = sorted(chance.sample(range(1, most_bytes), count))
    return [Trigger(place, chance.choice(choices), Direction.DOWN, pass_after_seconds) for place in places]


class FaultyProxy:
    """Listens on 127.0.0.1 from `__enter__` to `__exit__`, and carries connections to `target`. One thread.

    Args:
        target: address and port of the server; on loopback.
        triggers: what breaks when.
        seed: cuts the stream into pieces of random sizes, the same for the same seed. None: as large as they come.
        bytes_per_second: of `Mode.SLOW`, in each direction of each connection.

    Attributes:
        address, port: where it listens.
        passed: bytes carried so far, by direction.
        connections: how many were accepted so far.
    """

    def __init__(
        self,
        target: tuple[str, int],
        *,
        triggers: Iterable[Trigger] = (),
        seed: int | None = None,
        bytes_per_second: int = 10_000,
    ) -> None:
        if not target[0].startswith(_LOOPBACK_NETWORK):
            raise ValueError(f"{target[0]} is not a loopback address")
        self.target = target
        self.address = "127.0.0.1"
        self.bytes_per_second = bytes_per_second
        self.passed = dict.fromkeys(Direction, 0)
        self.connections = 0
        self._chance = None if seed is None else random.Random(seed)  # noqa: S311 - repeatable is what is wanted
        self._triggers = {
            direction: deque(
                sorted((trigger for trigger in triggers if trigger.direction is direction), key=lambda t: t.after_bytes)
            )
            for direction in Direction
        }
        self._mode = Mode.PASS
        self._pass_at: float | None = None
        self._pairs: set[_Pair] = set()
        self._lock = threading.Lock()
        self._stopped = False
        self._halve = False
        self._selector = selectors.DefaultSelector()
        self._listener = socket.create_server((self.address, 0), backlog=256)
        self._listener.settimeout(0.0)
        self.port: int = self._listener.getsockname()[1]
        self._waker, self._wake_end = socket.socketpair()
        self._waker.settimeout(0.0)
        self._thread = threading.Thread(target=self._run, name="faulty-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._wake_end, selectors.EVENT_READ)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped = True
        self._wake()
        self._thread.join(10)

    @property
    def mode(self) -> Mode:
        """What it does now."""
        return self._mode

    def set(self, mode: Mode, *, pass_after_seconds: float | None = None) -> None:
        """Begin to do this. From any thread; it counts from the next piece on."""
        with self._lock:
            self._mode = mode
            self._pass_at = None if pass_after_seconds is None else time.monotonic() + pass_after_seconds
        self._wake()

    def set_after(self, more_bytes: int, mode: Mode, *, pass_after_seconds: float | None = None) -> int:
        """Begin to do this when so many more bytes have gone down, in place of all other triggers of that direction. From any thread.

        Returns:
            How many bytes have then gone down in all.
        """
        trigger = Trigger(self.passed[Direction.DOWN] + more_bytes, mode, pass_after_seconds=pass_after_seconds)
        self._triggers[Direction.DOWN] = deque([trigger])
        return trigger.after_bytes

    def half_open(self) -> None:
        """Reset the server's side of all connections, and tell their clients nothing, ever. New ones are carried. From any thread."""
        self._halve = True
        self._wake()

    # The thread.

    def _run(self) -> None:
        while not self._stopped:
            events_now = self._selector.select(self._patience())
            self._keep_time()
            for key, events in events_now:
                if key.fileobj is self._listener:
                    self._accept()
                elif key.fileobj is self._wake_end:
                    self._wake_end.recv(4096)
                else:
                    key.data.ready(key.fileobj, events)
            if self._mode is Mode.RESET:
                self._reset_all()
            if self._halve:
                self._halve = False
                for pair in list(self._pairs):
                    pair.lose_server()
            for pair in list(self._pairs):
                pair.carry()
        self._reset_all()
        for sock in (self._listener, self._waker, self._wake_end):
            sock.close()
        self._selector.close()

    def _patience(self) -> float | None:
        if self._mode is Mode.SLOW:
            return _SLOW_TICK_SECONDS
        return None if self._pass_at is None else max(0.0, self._pass_at - time.monotonic())

    def _keep_time(self) -> None:
        with self._lock:
            if self._pass_at is not None and time.monotonic() >= self._pass_at:
                self._mode, self._pass_at = Mode.PASS, None

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        self.connections += 1
        if self._mode in (Mode.RESET, Mode.REFUSE):
            _reset(client)
            return
        try:
            server = socket.create_connection(self.target, timeout=5.0)
        except OSError:
            _reset(client)
            return
        self._pairs.add(_Pair(self, client, server))

    def _reset_all(self) -> None:
        for pair in list(self._pairs):
            pair.reset()

    def _wake(self) -> None:
        with suppress(OSError):
            self._waker.send(b"\0")

    # For the pairs.

    @property
    def selector(self) -> selectors.BaseSelector:
        """Where the pairs' sockets are registered."""
        return self._selector

    def forget(self, pair: _Pair) -> None:
        """The pair is over."""
        self._pairs.discard(pair)

    def allowance(self, direction: Direction, most: int) -> int:
        """How many of `most` bytes may be carried (or dropped) before the mode may change."""
        triggers = self._triggers[direction]
        if triggers:
            most = min(most, max(1, triggers[0].after_bytes - self.passed[direction]))
        if self._chance is not None and most > 1:
            most = self._chance.randint(1, most)
        return most

    def count(self, direction: Direction, carried: int) -> None:
        """Note what was carried, and pull the trigger if it is time."""
        self.passed[direction] += carried
        triggers = self._triggers[direction]
        if triggers and self.passed[direction] >= triggers[0].after_bytes:
            trigger = triggers.popleft()
            self.set(trigger.mode, pass_after_seconds=trigger.pass_after_seconds)


@dataclass(eq=False)
class _Way:
    """One direction of a connection."""

    source: socket.socket
    sink: socket.socket
    direction: Direction
    waiting: bytearray = field(default_factory=bytearray)
    has_ended: bool = False  # the source
    told_end: bool = False  # to the sink
    blocked: bool = False  # the sink takes no more
    budget: float = 0.0
    budget_at: float = field(default_factory=time.monotonic)


class _Pair:
    """One connection through the proxy."""

    def __init__(self, proxy: FaultyProxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._ways = (_Way(client, server, Direction.UP), _Way(server, client, Direction.DOWN))
        self._registered: dict[socket.socket, int] = {client: 0, server: 0}
        for sock in (client, server):
            sock.settimeout(0.0)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._register()

    def ready(self, sock: object, events: int) -> None:
        """A socket has something, or takes something."""
        for way in self._ways:
            if way.source is sock and events & selectors.EVENT_READ:
                self._read(way)
            if way.sink is sock and events & selectors.EVENT_WRITE:
                way.blocked = False

    def lose_server(self) -> None:
        """Break the connection on the server's side only; what the client sends from now on vanishes."""
        server = self._ways[0].sink
        if server not in self._registered:
            return
        if self._registered.pop(server):
            self._proxy.selector.unregister(server)
        _reset(server)
        self._ways[1].waiting.clear()
        self._ways[1].has_ended = True

    def carry(self) -> None:
        """Carry what the mode allows."""
        up, down = self._ways
        if up.sink not in self._registered:
            up.waiting.clear()
            if up.has_ended:
                self._close()
            else:
                self._register()
            return
        try:
            for way in (up, down):
                self._carry(way)
        except OSError:
            self.reset()
            return
        if all(way.told_end for way in self._ways):
            self._close()
        else:
            self._register()

    def reset(self) -> None:
        """Break the connection on both sides."""
        for sock in self._registered:
            _linger_not(sock)
        self._close()

    def _read(self, way: _Way) -> None:
        try:
            data = way.source.recv(_MOST_PIECE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            self.reset()
            return
        way.waiting += data
        way.has_ended = not data

    def _carry(self, way: _Way) -> None:
        proxy = self._proxy
        while way.waiting and not way.blocked:
            mode = proxy.mode
            if mode in (Mode.STALL, Mode.RESET):
                return
            allowed = proxy.allowance(way.direction, self._most(way, mode))
            if allowed == 0:
                return
            if mode is Mode.DROP:
                sent = allowed
            else:
                try:
                    sent = way.sink.send(way.waiting[:allowed])
                except BlockingIOError:
                    way.blocked = True
                    return
            del way.waiting[:sent]
            way.budget -= sent
            proxy.count(way.direction, sent)
        if way.has_ended and not way.told_end and not way.waiting and proxy.mode is not Mode.DROP:
            way.told_end = True
            way.sink.shutdown(socket.SHUT_WR)

    def _most(self, way: _Way, mode: Mode) -> int:
        if mode is not Mode.SLOW:
            return min(len(way.waiting), _MOST_PIECE_BYTES)
        now = time.monotonic()
        rate = self._proxy.bytes_per_second
        way.budget = min(rate * 0.1, max(0.0, way.budget) + (now - way.budget_at) * rate)
        way.budget_at = now
        return min(len(way.waiting), int(way.budget))

    def _register(self) -> None:
        for sock, registered in self._registered.items():
            wanted = 0
            for way in self._ways:
                reads = self._proxy.mode is not Mode.STALL and len(way.waiting) < _MOST_WAITING_BYTES
                if way.source is sock and not way.has_ended and reads:
                    wanted |= selectors.EVENT_READ
                if way.sink is sock and way.blocked:
                    wanted |= selectors.EVENT_WRITE
            if wanted == registered:
                continue
            selector = self._proxy.selector
            if not registered:
                selector.register(sock, wanted, self)
            elif wanted:
                selector.modify(sock, wanted, self)
            else:
                selector.unregister(sock)
            self._registered[sock] = wanted

    def _close(self) -> None:
        for sock, registered in self._registered.items():
            if registered:
                self._proxy.selector.unregister(sock)
            sock.close()
        self._registered = dict.fromkeys(self._registered, 0)
        self._proxy.forget(self)


def _linger_not(sock: socket.socket) -> None:
    with suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _reset(sock: socket.socket) -> None:
    _linger_not(sock)
    sock.close()
