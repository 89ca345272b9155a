"""A cluster of `scale`'s that exists only in fake time: slices that are preempted and come again, and connections that are lost.

It keeps account of each life of a host: how many channels iris opened to it, and how many were called for.
"""

from __future__ import annotations

import heapq
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from iris_adapters.fakes import (
    FakeClock,
    FakeDockerEngine,
    FakeInventory,
    FakeShell,
    StartScript,
    make_controller,
    make_slice,
)
from iris_core.errors import ConnectionLostError
from iris_core.model import VmPhase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iris_adapters.fakes import FakeProcess
    from iris_adapters.fakes.remote_shell import ProcessHandler
    from iris_core.model import Host, Slice
    from iris_core.ports.remote_shell import ProcessListener

HOUR: Final = 3600.0
STEP_SECONDS: Final = 5.0  # half of what iris lets pass between two looks: twice as many would be seen
CHECK_SECONDS: Final = HOUR
"""From one check of a quiet channel to the next, as `scale` sets it."""
CHANNELS_OF_A_HOST: Final = 2  # its container's log, and the watch for labelled containers
HOSTS_OF_A_SLICE: Final = 8
LIFE_HOURS: Final = 8.0  # of a slice, on average, before it is preempted
AGAIN_SECONDS: Final = 300.0  # until another slice is there in its place
DROPS_PER_HOST_AND_DAY: Final = 2.0

_LEAST_LIFE_SECONDS: Final = 60.0  # the cloud is asked every 10 s, so each life is heard of
_GONE_SECONDS: Final = 60.0  # from its preemption until it is no longer listed
_LATE_SECONDS: Final = (
    40.0  # at most, from a host's creation to its channels, and from when a check is due to the next channel
)


@dataclass(slots=True)
class _Life:
    """A host from its creation to its preemption (the controller is one, too).

    Attributes:
        began: when, in seconds of the clock; or when its channels were last lost.
        channels: those that may be open.
        opened: how many were.
        refused: how many were asked for while the host could not be reached.
        lost: how many were lost while it could.
        fewest_checks, most_checks: of quiet channels, that were due until they were last lost.
        preempted: whether it has ended.
    """

    began: float
    channels: list[FakeProcess] = field(default_factory=list)
    opened: int = 0
    refused: int = 0
    lost: int = 0
    fewest_checks: int = 0
    most_checks: int = 0
    preempted: bool = False

    def hear(self, process: FakeProcess) -> None:
        """A channel was asked for."""
        if process.running:
            self.opened += 1
            self.channels = [*(one for one in self.channels if one.running), process]
        else:
            self.refused += 1

    def lose(self, now: float) -> int:
        """Lose its channels; returns how many there were."""
        self.reckon(now)
        lost = [one for one in self.channels if one.running]
        self.channels.clear()
        for process in lost:
            process.fail(ConnectionLostError(f"{process.host.name}: lost", host=process.host.name))
        return len(lost)

    def reckon(self, now: float) -> None:
        """Add the checks that were due since its channels were last lost."""
        seconds, self.began = now - self.began, now
        late = max(0.0, seconds - _LATE_SECONDS)
        self.fewest_checks += CHANNELS_OF_A_HOST * int(late / (CHECK_SECONDS + _LATE_SECONDS))
        self.most_checks += CHANNELS_OF_A_HOST * int(seconds / CHECK_SECONDS)


@dataclass(slots=True)
class ChannelCounts:
    """The channels of all lives that were added up.

    Attributes:
        lives: how many these are.
        opened: how many channels.
        fewest, most: how many were called for: for each life, each lost one and each check.
        lives_short, lives_over: how many lives had fewer or more than that.
        refused: how many were asked for of hosts that had been preempted.
        fewest_refused, most_refused: of one such host; 0 where there was none.
        preempted: how many such hosts there were.
        too_late: how many were asked for of hosts that had been gone for minutes.
    """

    lives: int = 0
    opened: int = 0
    fewest: int = 0
    most: int = 0
    lives_short: int = 0
    lives_over: int = 0
    refused: int = 0
    fewest_refused: int = 0
    most_refused: int = 0
    preempted: int = 0
    too_late: int = 0

    def add(self, life: _Life) -> None:
        """Add a life that was reckoned to its end."""
        called_for = CHANNELS_OF_A_HOST + life.lost
        fewest, most = called_for + life.fewest_checks, called_for + life.most_checks
        self.lives += 1
        self.opened += life.opened
        self.fewest += fewest
        self.most += most
        self.lives_short += life.opened < fewest
        self.lives_over += life.opened > most
        self.refused += life.refused
        if life.preempted:
            self.fewest_refused = min(self.fewest_refused, life.refused) if self.preempted else life.refused
            self.most_refused = max(self.most_refused, life.refused)
            self.preempted += 1


class _CountingShell(FakeShell):
    """Keeps account of each channel that is asked for.

    Attributes:
        lives: of the hosts that are there or were a short while ago, by name.
        too_late: how many channels were asked for to hosts that had been gone for minutes.
    """

    def __init__(self, handler: ProcessHandler) -> None:
        super().__init__(starts=[StartScript(handler=handler)])
        self.lives: dict[str, _Life] = {}
        self.too_late = 0

    def start(
        self, host: Host, argv: Sequence[str], listener: ProcessListener, *, socket_path: str = ""
    ) -> FakeProcess:
        """See `RemoteShell`."""
        process = super().start(host, argv, listener, socket_path=socket_path)
        life = self.lives.get(host.name)
        if life is None:
            self.too_late += 1
        else:
            life.hear(process)
        return process


class Cloud:
    """Slices that come, are preempted and come again, by a seed.

    Args:
        hosts: how many there are as a rule; a multiple of `HOSTS_OF_A_SLICE`.
        seed: of all that is random.

    Attributes:
        clock, engine, shell, inventory: the fakes. One engine answers for every host.
        preempted_hosts: how many lives of worker hosts have ended.
        drops: how many connections were lost without cause.
        inventory_calls: those of the inventory that were counted, by method.

    Raises:
        ValueError: `hosts` is none such.
    """

    def __init__(self, hosts: int, seed: int) -> None:
        if hosts <= 0 or hosts % HOSTS_OF_A_SLICE:
            raise ValueError(f"{hosts} hosts are not whole slices of {HOSTS_OF_A_SLICE}")
        self.clock = FakeClock()
        self.engine = FakeDockerEngine()
        self._controller = self.engine.create("iris-controller")
        self._worker = self.engine.create("iris-worker")
        self.shell = _CountingShell(self.engine.serve)
        controller = make_controller()
        self.inventory = FakeInventory(controller=controller)
        self.preempted_hosts = self.drops = 0
        self.inventory_calls: Counter[str] = Counter()
        self._ended = ChannelCounts()
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._planned = 0
        self._made = 0
        self._now = self.clock.monotonic()  # or what was planned for: several plans may be within one step
        self._calm_until = self._now
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._mishaps: list[tuple[float, int, Callable[[], None]]] = []
        self._slices: dict[str, Slice] = {}
        self._begin_life(controller.host)
        for _ in range(hosts // HOSTS_OF_A_SLICE):
            self._create()
        self._mean_drop_seconds = 24 * HOUR / DROPS_PER_HOST_AND_DAY / hosts
        self._plan_mishap(self._random.expovariate(1 / self._mean_drop_seconds), self._drop)

    @property
    def hosts(self) -> list[str]:
        """The names of the worker hosts that are there and not preempted."""
        return [host.name for one in self._slices.values() for host in one.hosts]

    def write(self, line: bytes) -> bytes:
        """Have each container that is there write a line; returns it as it lands."""
        self._controller.write(line)
        return self._worker.write(line).landed

    def pass_time(self, seconds: float, done: Callable[[], None] = lambda: None) -> None:
        """Let so many seconds pass, and what is planned in them; `done` is called after each step of `STEP_SECONDS`."""
        self._let_iris_work()
        for _ in range(round(seconds / STEP_SECONDS)):
            now = self.clock.monotonic()
            while (plans := min(self._plans, self._mishaps, key=_next_of)) and plans[0][0] <= now:
                self._now, _, action = heapq.heappop(plans)
                action()
                self._let_iris_work()  # so that nothing changes beneath it: the same seed is the same day
            self._now = now
            self.clock.advance(STEP_SECONDS)
            self._let_iris_work()
            done()

    def stay_calm(self, seconds: float) -> None:
        """Put off for so long what would be lost or preempted. What was preempted already is replaced."""
        self._calm_until = self.clock.monotonic() + seconds
        self._mishaps = [(at + seconds, number, action) for at, number, action in self._mishaps]

    def lose_slices(self, slices: int) -> list[str]:
        """Lose so many slices for good, while the cloud still lists them as ready; returns the names of their hosts."""
        hosts = [host.name for one in list(self._slices.values())[:slices] for host in one.hosts]
        for host in hosts:
            self.shell.break_host(host)
            self.shell.lives[host].lose(self.clock.monotonic())
        return hosts

    def forget(self) -> None:
        """Take what the fakes remember of the past into the counts: it must not look like memory of iris's."""
        self.shell.started[:] = self.shell.running()
        self.inventory_calls.update(call.method for call in self.inventory.calls)
        self.inventory.calls.clear()
        self.engine.requests.clear()

    def channels(self) -> ChannelCounts:
        """The channels of all lives, up to now. For one call."""
        for life in self.shell.lives.values():
            if not life.preempted:
                life.reckon(self.clock.monotonic())
                self._ended.add(life)
        self._ended.too_late = self.shell.too_late
        return self._ended

    def _let_iris_work(self) -> None:
        self.clock.wait_until_waiting(2, timeout_seconds=120)

    def _begin_life(self, host: Host) -> None:
        self.shell.lives[host.name] = _Life(self.clock.monotonic())

    def _plan(self, seconds: float, action: Callable[[], None]) -> None:
        self._planned += 1
        heapq.heappush(self._plans, (self._now + seconds, self._planned, action))

    def _plan_mishap(self, seconds: float, action: Callable[[], None]) -> None:
        self._planned += 1
        heapq.heappush(self._mishaps, (max(self._now, self._calm_until) + seconds, self._planned, action))

    def _create(self) -> None:
        self._made += 1
        made = make_slice(f"iris-tpu-{self._made:08}", hosts=HOSTS_OF_A_SLICE, group="tpu")
        self._slices[made.name] = made
        for host in made.hosts:
            self._begin_life(host)
        self.inventory.put_slice(made)
        life = max(_LEAST_LIFE_SECONDS, self._random.expovariate(1 / (LIFE_HOURS * HOUR)))
        self._plan_mishap(life, lambda: self._preempt(made))

    def _preempt(self, one: Slice) -> None:
        del self._slices[one.name]
        self.inventory.set_phase(one.name, VmPhase.FAILED)
        for host in one.hosts:
            self.preempted_hosts += 1
            self.shell.break_host(host.name)
            life = self.shell.lives[host.name]
            life.preempted = True
            life.lost -= CHANNELS_OF_A_HOST - life.lose(
                self.clock.monotonic()
            )  # what was not there is not opened again

        def replace() -> None:  # not before: iris has taken leave of the old one by then
            for host in one.hosts:
                self.shell.heal_host(host.name)
                self._ended.add(self.shell.lives.pop(host.name))
            self._create()

        self._plan(_GONE_SECONDS, lambda: self.inventory.remove_slice(one.name))
        self._plan(AGAIN_SECONDS, replace)

    def _drop(self) -> None:
        one = self._slices[self._random.choice(list(self._slices))]
        life = self.shell.lives[self._random.choice(one.hosts).name]
        lost = life.lose(self.clock.monotonic())
        life.lost += lost
        self.drops += lost > 0
        self._plan_mishap(self._random.expovariate(1 / self._mean_drop_seconds), self._drop)


def _next_of(plans: list[tuple[float, int, Callable[[], None]]]) -> tuple[float, int]:
    return plans[0][:2] if plans else (float("inf"), 0)
