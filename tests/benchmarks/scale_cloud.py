"""A cluster of `scale`'s that exists only in fake time: slices that are preempted and come again, and connections that are lost."""

from __future__ import annotations

import heapq
import random
from collections import Counter
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

_HOSTS_OF_A_SLICE: Final = 8
_LIFE_HOURS: Final = 8.0  # of a slice, on average, before it is preempted
_GONE_SECONDS: Final = 60.0  # from its preemption until it is no longer listed
_AGAIN_SECONDS: Final = 300.0  # until another one is there in its place
_DROPS_PER_HOST_AND_DAY: Final = 2.0
_HOUR: Final = 3600.0


class _CountingShell(FakeShell):
    """Counts each channel that is asked for, and hands those that it opens to whoever plays the far side.

    Attributes:
        connects: how many were asked for.
        most_connects: to one host, of those that were forgotten.
    """

    def __init__(self, handler: ProcessHandler) -> None:
        super().__init__(starts=[StartScript(handler=handler)])
        self.connects = self.most_connects = 0
        self._by_host: Counter[str] = Counter()

    def start(
        self, host: Host, argv: Sequence[str], listener: ProcessListener, *, socket_path: str = ""
    ) -> FakeProcess:
        """See `RemoteShell`."""
        self.connects += 1
        self._by_host[host.name] += 1
        return super().start(host, argv, listener, socket_path=socket_path)

    def forget(self, host: str) -> None:
        """The host is no more, and nobody asks for it again."""
        self.heal_host(host)
        self.most_connects = max(self.most_connects, self._by_host.pop(host, 0))

    def forget_all(self) -> None:
        """Of the hosts that are still there, too."""
        for host in list(self._by_host):
            self.forget(host)


class Cloud:
    """Slices that come, are preempted and come again, by a seed.

    Args:
        hosts: how many there are as a rule.
        seed: of all that is random.
    """

    def __init__(self, hosts: int, seed: int) -> None:
        self.clock = FakeClock()
        self.engine = FakeDockerEngine()
        self.engine.create("iris-controller").write(b"hello\n")
        self.engine.create("iris-worker").write(b"hello\n")
        self.shell = _CountingShell(self._serve)
        self._channels: dict[str, FakeProcess] = {}  # by host: one each
        self.inventory = FakeInventory(controller=make_controller())
        self.preempted_hosts = self.drops = 0
        self.inventory_calls: Counter[str] = Counter()
        self._random = random.Random(seed)  # noqa: S311 - not for secrets
        self._made = 0
        self._now = self.clock.monotonic()  # or what was planned for: several plans may be within one step
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._slices: dict[str, Slice] = {}
        for _ in range(hosts // _HOSTS_OF_A_SLICE):
            self._create()
        self._mean_drop_seconds = 24 * _HOUR / _DROPS_PER_HOST_AND_DAY / hosts
        self._plan(self._random.expovariate(1 / self._mean_drop_seconds), self._drop)

    def pass_time(self, seconds: float) -> None:
        """Let so many seconds pass, and what is planned in them."""
        self.clock.wait_until_waiting(2, timeout_seconds=120)
        now = self.clock.monotonic()
        while self._plans and self._plans[0][0] <= now:
            self._now, _, action = heapq.heappop(self._plans)
            action()
        self._now = now
        self.clock.advance(seconds)

    def count(self) -> None:
        """Take what the fakes remember into the counts, so that they need not remember it."""
        self.shell.started[:] = self.shell.running()
        self.inventory_calls.update(call.method for call in self.inventory.calls)
        self.inventory.calls.clear()
        self.engine.requests.clear()

    def _serve(self, process: FakeProcess) -> None:
        self._channels[process.host.name] = process
        self.engine.serve(process)

    def _lose_channel(self, host: str) -> None:
        process = self._channels.pop(host, None)
        if process is not None:
            process.fail(ConnectionLostError(f"{host}: lost", host=host))

    def _plan(self, seconds: float, action: Callable[[], None]) -> None:
        self._made += 1
        heapq.heappush(self._plans, (self._now + seconds, self._made, action))

    def _create(self) -> None:
        self._made += 1
        made = make_slice(f"iris-tpu-{self._made:08}", hosts=_HOSTS_OF_A_SLICE, group="tpu")
        self._slices[made.name] = made
        self.inventory.put_slice(made)
        self._plan(self._random.expovariate(1 / (_LIFE_HOURS * _HOUR)), lambda: self._preempt(made))

    def _preempt(self, one: Slice) -> None:
        del self._slices[one.name]
        self.inventory.set_phase(one.name, VmPhase.FAILED)
        for host in one.hosts:
            self.preempted_hosts += 1
            self.shell.break_host(host.name)
            self._lose_channel(host.name)

        def replace() -> (
            None
        ):  # not before: a channel that is opened once more to a host that is gone would be kept for ever
            for host in one.hosts:
                self.shell.forget(host.name)
            self._create()

        self._plan(_GONE_SECONDS, lambda: self.inventory.remove_slice(one.name))
        self._plan(_AGAIN_SECONDS, replace)

    def _drop(self) -> None:
        self.drops += 1
        one = self._slices[self._random.choice(list(self._slices))]
        self._lose_channel(self._random.choice(one.hosts).name)
        self._plan(self._random.expovariate(1 / self._mean_drop_seconds), self._drop)
