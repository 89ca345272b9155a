"""Drives log sources: carries what they want done to the shell and the landed files, and what happens back to them.

`LogPump.step` is finite, and everything of a source happens in it, on the one thread that calls it. The shell's threads only leave bytes
in a source's inbox, bounded: a source that is behind (a slow disk, a full one) stops its process's output on the host.
"""

from __future__ import annotations

import heapq
import logging
import random
import threading
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Final, Protocol

from iris_core.container_watch import ContainerWatch
from iris_core.errors import LogFileError
from iris_core.landing import Landing
from iris_core.log_events import LogEventKind
from iris_core.log_protocol import Close, Found, Land, Open, Send, Verify, Woken
from iris_core.log_source import LogSource
from iris_core.process_inbox import ProcessInbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from iris_core.log_events import LogEvent
    from iris_core.log_file import LandedFile
    from iris_core.log_protocol import Action, Event
    from iris_core.model import Host
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell

_logger = logging.getLogger("iris.logs")

# A shell lets lines gather, too: much more here makes them late and spares nothing. And a line of a log that may rotate waits for three
# answers: with 1,000 of those and a line every 30 s each, 0.05 s cost 10.4 % of a core and 324 ms at p99, 0.03 s 14.0 % and 113 ms.
_GATHER_SECONDS_EACH: Final = 3e-5
_MOST_GATHER_SECONDS: Final = 0.03
_LEAST_GATHER_SECONDS: Final = 0.001
_STALL_SECONDS: Final = 1.0  # before a landed file that could not be written is tried again
_VERIFY: Final = Verify()
_VERIFY_SECONDS: Final = (
    60.0  # from one such look at a landed file to the next: a thousand busy logs each have a timer every 5 s
)


class Machine(Protocol):
    """What the pump drives: a `LogSource`, or a `ContainerWatch`."""

    finished: bool
    connected: bool

    @property
    def wake_at(self) -> float | None:
        """When it wants to be `Woken` at the latest; None: not."""
        ...

    def begin(self, now: float) -> list[Action]:
        """Begin, and return what to do."""
        ...

    def receive(self, event: Event, now: float) -> list[Action]:
        """Be told what happened, and return what to do."""
        ...

    def drain(self, now: float) -> list[Action]:
        """Finish soon, and return what to do."""
        ...


class CaptureSlot:
    """One machine with its host, its process and its landing. Made by the pump, and only for reading elsewhere.

    Attributes:
        host: where it is.
        machine: what decides.
        done: it has finished or was given up; its file is closed.
        fault: what it was given up for, if that was none of what is foreseen.
    """

    __slots__ = (
        "__weakref__",
        "beside",
        "done",
        "fault",
        "give_up_at",
        "host",
        "inbox",
        "landing",
        "machine",
        "on_found",
        "pending",
        "stalled_until",
        "timer_at",
        "verify_at",
    )

    def __init__(
        self,
        host: Host,
        machine: Machine,
        landing: Landing,
        on_mail: Callable[[CaptureSlot], None],
        on_found: Callable[[frozenset[str]], None] | None = None,
    ) -> None:
        self.host = host
        self.machine = machine
        self.landing = landing
        self.inbox = ProcessInbox(partial(on_mail, self))
        self.on_found = on_found
        self.beside: CaptureSlot | None = None
        self.done = False
        self.fault: BaseException | None = None
        self.pending: list[Action] = []
        self.stalled_until: float | None = None
        self.give_up_at: float | None = None
        self.timer_at: float | None = None
        self.verify_at = 0.0

    @property
    def lines_landed(self) -> int:
        """Since it began."""
        return self.landing.lines_landed


class LogPump:
    """Any number of sources, and the step that moves them all on.

    Every method is for the one thread that calls `step`; only `wake` is for any.

    Args:
        shell: reaches the hosts.
        clock: tells the time.
        on_event: hears of every event; must be quick.
        jitter: gives numbers from 0 to 1, to spread retries.

    Attributes:
        wake: set when there is something for `step` to do.
        slots: the sources that are not done.
        finished: how many are.
    """

    def __init__(
        self,
        shell: RemoteShell,
        clock: Clock,
        on_event: Callable[[LogEvent], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.wake = threading.Event()
        self.slots: list[CaptureSlot] = []
        self.finished = 0
        self._shell = shell
        self._clock = clock
        self._on_event = on_event
        self._jitter = jitter
        self._ready: deque[CaptureSlot] = deque()
        self._timers: list[tuple[float, int, CaptureSlot]] = []
        self._timer_number = 0

    def add(self, name: str, host: Host, container: str, file: LandedFile, *, use_sudo: bool) -> CaptureSlot:
        """Begin to capture a container's log into a file, which the pump closes when it is done."""
        source = LogSource(container=container, use_sudo=use_sudo, life=file.life, jitter=self._jitter)
        return self._begin(name, host, source, file)

    def watch(
        self,
        host: Host,
        label: str,
        on_found: Callable[[frozenset[str]], None],
        *,
        use_sudo: bool,
        beside: CaptureSlot | None = None,
    ) -> CaptureSlot:
        """Begin to watch which containers of a host bear a label.

        Args:
            host: which.
            label: `key` or `key=value`.
            on_found: told their names, in `step`.
            use_sudo: whether docker needs sudo on the host.
            beside: a source of that host, which tells where the host cannot be reached, so that the watch need not.
        """
        machine = ContainerWatch(label=label, use_sudo=use_sudo, jitter=self._jitter)
        slot = self._begin(f"{host.name}: containers", host, machine, None, on_found)
        slot.beside = beside
        return slot

    def _begin(
        self,
        name: str,
        host: Host,
        machine: Machine,
        file: LandedFile | None,
        on_found: Callable[[frozenset[str]], None] | None = None,
    ) -> CaptureSlot:
        landing = Landing(name, host, file, self._clock, self._on_event)
        slot = CaptureSlot(host, machine, landing, self._mail, on_found)
        self.slots.append(slot)
        try:
            self._perform(slot, slot.machine.begin(self._clock.monotonic()))
            self._set_timer(slot)
        except Exception as error:  # noqa: BLE001 - whatever it is: it must not cost other sources their lines
            self._break_off(slot, error)
        return slot

    def drain(self, slots: Iterable[CaptureSlot], seconds: float) -> None:
        """Have sources take what their engines hold now, and finish; after `seconds` they are given up."""
        for slot in list(slots):
            if not slot.done and slot.give_up_at is None:
                try:
                    self._drain(slot, seconds)
                except Exception as error:  # noqa: BLE001 - as above
                    self._break_off(slot, error)

    def _drain(self, slot: CaptureSlot, seconds: float) -> None:
        now = self._clock.monotonic()
        slot.give_up_at = now + seconds
        if slot.stalled_until is None:  # else what it wants done is not done yet, and it must be told nothing before
            self._perform(slot, slot.machine.drain(now))
        self._set_timer(slot)

    @property
    def gather_seconds(self) -> float:
        """How long to let more come together before the next `step`; 0 for few sources. To wake up costs more than to land a line."""
        seconds = min(_MOST_GATHER_SECONDS, len(self.slots) * _GATHER_SECONDS_EACH)
        return seconds if seconds >= _LEAST_GATHER_SECONDS else 0.0

    def run_until_done(self) -> None:
        """Step until no source is left; for when all of them have been told to finish."""
        while self.slots:
            seconds = self.step()
            if self.slots:
                self._clock.wait(self.wake, seconds)

    def _mail(self, slot: CaptureSlot) -> None:
        """There is something in a source's inbox (on any thread)."""
        self._ready.append(slot)
        if not self.wake.is_set():  # `step` clears it before it looks at what is ready
            self.wake.set()

    def step(self) -> float | None:
        """Do all that is to be done now; return in how many seconds there is more if nothing happens, None for never."""
        self.wake.clear()
        for _ in range(len(self._ready)):
            slot = self._ready.popleft()
            try:
                self._take_inbox(slot)
            except Exception as error:  # noqa: BLE001 - as above
                self._break_off(slot, error)
        now = self._clock.monotonic()
        while self._timers and self._timers[0][0] <= now:
            timer_at, _, slot = heapq.heappop(self._timers)
            if slot.done or slot.timer_at != timer_at:
                continue  # overtaken by an earlier one: set anew, it would stay for ever, beside that one's
            slot.timer_at = None
            try:
                self._on_time(slot, now)
            except Exception as error:  # noqa: BLE001 - as above
                self._break_off(slot, error)
        if self._ready:
            return 0.0
        return max(0.0, self._timers[0][0] - self._clock.monotonic()) if self._timers else None

    def _take_inbox(self, slot: CaptureSlot) -> None:
        if slot.stalled_until is not None and not slot.done:
            slot.inbox.leave()
            return
        events = slot.inbox.take()
        while events and not slot.done and (event := slot.inbox.first_of(events)) is not None:
            self._perform(slot, slot.machine.receive(event, self._clock.monotonic()))
            if slot.stalled_until is not None:
                slot.inbox.put_back(events)
                break
        self._set_timer(slot)

    def _on_time(self, slot: CaptureSlot, now: float) -> None:
        if slot.give_up_at is not None and now >= slot.give_up_at:
            self._give_up(slot)
        elif slot.stalled_until is not None:
            if now >= slot.stalled_until:
                slot.stalled_until = None
                self._perform(slot, [])
                if slot.stalled_until is None:
                    if slot.give_up_at is not None:
                        self._perform(slot, slot.machine.drain(now))
                    self._take_inbox(slot)
        elif slot.machine.wake_at is not None and now >= slot.machine.wake_at:
            if slot.inbox.has_mail:
                return  # the next step takes it and sets the timer: what is late is not silent
            self._perform(slot, slot.machine.receive(Woken(), now))
        elif (
            now >= slot.verify_at
        ):  # put off by what has come since, and landed in a file that nobody has looked at again
            slot.verify_at = now + _VERIFY_SECONDS
            self._perform(slot, [_VERIFY])
        self._set_timer(slot)

    def _set_timer(self, slot: CaptureSlot) -> None:
        if slot.done:
            return
        wake_at = slot.machine.wake_at if slot.stalled_until is None else slot.stalled_until
        if slot.give_up_at is not None:
            wake_at = slot.give_up_at if wake_at is None else min(wake_at, slot.give_up_at)
        # A timer that is too early is set anew when it comes: cheaper than one for every piece of output.
        if wake_at is not None and (slot.timer_at is None or wake_at < slot.timer_at):
            slot.timer_at = wake_at
            self._timer_number += 1
            heapq.heappush(self._timers, (wake_at, self._timer_number, slot))

    def _perform(self, slot: CaptureSlot, actions: list[Action]) -> None:
        """Do what a source wants done. Its timer is the caller's affair, once, after all that there was to perform."""
        slot.pending.extend(actions)
        while slot.pending and slot.stalled_until is None:
            try:
                action = slot.pending[0]
                answer = slot.landing.act(action) if type(action) is Land else self._act(slot, action)
            except LogFileError as error:
                slot.stalled_until = self._clock.monotonic() + _STALL_SECONDS
                slot.landing.failed(error)
                break
            del slot.pending[0]
            if answer is not None:
                slot.pending.extend(slot.machine.receive(answer, self._clock.monotonic()))
        if slot.machine.finished and not slot.pending:
            self._finish(slot)

    def _act(self, slot: CaptureSlot, action: Action) -> Event | None:
        match action:
            case Send(data):
                slot.inbox.write(data)
            case Open(argv, socket_path):
                slot.inbox.open(self._shell, slot.host, argv, socket_path)
            case Close():
                slot.inbox.close()
            case Found(names):
                if slot.on_found is not None:
                    slot.on_found(names)
            case _:
                return slot.landing.act(action)
        return None

    def _give_up(self, slot: CaptureSlot) -> None:
        if slot.beside is None or slot.beside.machine.connected:
            self.tell(slot, LogEventKind.NOT_DRAINED, {"reason": _why_given_up(slot)})
        self._finish(slot)

    def tell(self, slot: CaptureSlot, kind: LogEventKind, details: dict[str, object]) -> None:
        """Record an event of a source, as well as can be, and tell of it."""
        slot.landing.tell(kind, details)

    def _finish(self, slot: CaptureSlot) -> None:
        if slot.done:
            return
        slot.done = True
        self.finished += 1
        self.slots.remove(slot)
        slot.pending.clear()
        try:
            slot.inbox.close()
        finally:
            slot.landing.close()

    def _break_off(self, slot: CaptureSlot, fault: Exception) -> None:
        """Give up a source in which something has failed that is not foreseen, and tell of it. The others go on."""
        _logger.warning("%s: its capture broke off", slot.landing.name, exc_info=fault)
        self._abandon(slot, fault)

    def abandon(self, fault: BaseException) -> None:
        """Give up every source, and tell of it: `step` failed, or what calls it."""
        for slot in list(self.slots):
            self._abandon(slot, fault)

    def _abandon(self, slot: CaptureSlot, fault: BaseException) -> None:
        slot.fault = fault
        try:
            self.tell(slot, LogEventKind.NOT_DRAINED, {"reason": f"its capture broke off: {fault!r}"})
        except Exception:
            _logger.exception("%s: that could not be told", slot.landing.name)
        try:
            self._finish(slot)
        except Exception:
            _logger.exception("%s: what it held could not be let go", slot.landing.name)


def _why_given_up(slot: CaptureSlot) -> str:
    if slot.on_found is not None:
        return "which containers bear the label was not answered in time"
    if not slot.machine.connected:
        return "the host's Docker engine could not be reached"
    return "the time ran out" if slot.stalled_until is None else "the landed file cannot be written"
