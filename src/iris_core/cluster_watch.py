"""Asking the inventory, over and over, what there is of a cluster: once for all who want to know."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from iris_core.errors import InventoryError

if TYPE_CHECKING:
    from collections.abc import Callable

    from iris_core.model import ControllerVm, Slice
    from iris_core.ports.clock import Clock
    from iris_core.ports.vm_inventory import VmInventory

_logger = logging.getLogger("iris.logs")

_CONTROLLER_EVERY: Final = 6  # looks at the slices for one at the controller, which hardly ever changes
_MOST_BACKOFF: Final = 6  # in intervals, while the inventory does not answer
_LAST_LOOK_SECONDS: Final = 3.0  # how long the end of a look is waited for when nobody wants to know any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at the inventory came to.

    Attributes:
        began_at: the (monotonic) time at which the question was put: what has been done since is not in the answer.
        slices: all slices of the cluster; None where it is not known, see `problem`.
        controller: its controller as it was last seen, which may be some looks ago; None if there is none.
        problem: why the slices, or where they are known the controller, could not be had; empty if nothing failed.
        is_whole: False where the controller is being asked for at this moment: the same answer comes again, with it.
    """

    began_at: float
    slices: tuple[Slice, ...] | None
    controller: ControllerVm | None = None
    problem: str = ""
    is_whole: bool = True


Listener: TypeAlias = "Callable[[Look], None]"
"""Hears of each look, on the watch's thread; must be quick."""


class ClusterWatch:
    """One question for the slices at each interval, however many slices, hosts and listeners there are; none while nobody listens.

    Every method may be called from any thread.

    Args:
        inventory: is asked.
        clock: tells the time.
        every_seconds: the interval. While the inventory does not answer it is doubled, up to six of it.
        asks_controller: False: nobody wants to know of the controller, which is None in every answer.
    """

    def __init__(
        self, inventory: VmInventory, clock: Clock, *, every_seconds: float, asks_controller: bool = True
    ) -> None:
        self._asks_controller = asks_controller
        self._inventory = inventory
        self._clock = clock
        self._every_seconds = every_seconds
        self._lock = threading.Lock()  # for what follows
        self._listeners: list[Listener] = []
        self._run: _Run | None = None
        self._last: Look | None = None

    def listen(self, listener: Listener) -> Callable[[], None]:
        """Have every look told to `listener`, the last one at once if there was one.

        Returns:
            what ends it. The last one to leave waits a few seconds for the look that is under way.
        """
        with self._lock:
            self._listeners.append(listener)
            if self._run is None:
                self._last = None
                run = self._run = _Run()
                threading.Thread(target=self._loop, args=(run,), name="iris-log-discovery", daemon=True).start()
            elif self._last is not None:
                listener(self._last)
        left = threading.Event()

        def leave() -> None:
            if not left.is_set():
                left.set()
                self._leave(listener)

        return leave

    def _leave(self, listener: Listener) -> None:
        with self._lock:
            self._listeners.remove(listener)
            if self._listeners or self._run is None:
                return
            run, self._run = self._run, None
            run.stop.set()
        self._clock.wait(run.ended, _LAST_LOOK_SECONDS)

    def _loop(self, run: _Run) -> None:
        answers, failures = 0, 0
        controller: ControllerVm | None = None
        try:
            while True:
                try:
                    controller = self._look(run, controller, with_controller=answers % _CONTROLLER_EVERY == 0)
                except Exception as error:  # noqa: BLE001 - an inventory may have bugs, too: the next look may go well
                    failures += 1
                    self._tell_failure(run, controller, error)
                else:
                    answers, failures = answers + 1, 0
                intervals = min(_MOST_BACKOFF, 2 ** min(failures, _MOST_BACKOFF))
                if self._clock.wait(run.stop, self._every_seconds * intervals):
                    return
        finally:
            run.ended.set()

    def _look(self, run: _Run, controller: ControllerVm | None, *, with_controller: bool) -> ControllerVm | None:
        """Ask once, and tell: the slices as soon as they are known, also if the controller is not."""
        run.began_at = self._clock.monotonic()
        run.slices = None
        run.slices = tuple(self._inventory.list_slices())
        asks = self._asks_controller and (with_controller or controller is None)
        self._tell(run, Look(began_at=run.began_at, slices=run.slices, controller=controller, is_whole=not asks))
        if asks:
            controller = self._inventory.find_controller()
            self._tell(run, Look(began_at=run.began_at, slices=run.slices, controller=controller))
        return controller

    def _tell_failure(self, run: _Run, controller: ControllerVm | None, error: Exception) -> None:
        if run.stop.is_set():
            return
        _logger.warning(
            "Which hosts there are is not known at the moment; what is captured goes on. %s",
            error,
            exc_info=not isinstance(error, InventoryError),
        )
        self._tell(run, Look(began_at=run.began_at, slices=run.slices, controller=controller, problem=str(error)))

    def _tell(self, run: _Run, look: Look) -> None:
        with self._lock:
            if self._run is not run:
                return
            self._last = look
            listeners = list(self._listeners)
        for listener in listeners:
            listener(look)


class _Run:
    """One life of the watch's thread."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.ended = threading.Event()
        self.began_at = 0.0
        self.slices: tuple[Slice, ...] | None = None
