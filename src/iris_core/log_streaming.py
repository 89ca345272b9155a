"""Landing the logs of a whole cluster for as long as one likes: `open_log_streaming` and the handle that stops it.

Two threads, however many hosts: one moves the sources (`LogPump.step`), the `ClusterWatch`'s asks the inventory which hosts there are.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from iris_core.cluster_capture import ClusterCapture
from iris_core.cluster_watch import ClusterWatch
from iris_core.model import HostRole
from iris_core.worker_discovery import has_controller, share_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from iris_core.cluster_watch import Look
    from iris_core.config import ClusterConfig, LogConfig
    from iris_core.log_events import LogEvent
    from iris_core.model import ControllerVm, Slice
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell
    from iris_core.ports.vm_inventory import VmInventory

_logger = logging.getLogger("iris.logs")

_LET_GO_SECONDS: Final = 15.0  # a retired host takes 5; more only where a disk is full


class LogStreamHandle:
    """Log streaming that runs in the background until `stop`. Made and started by `open_log_streaming`.

    Args:
        config: which share of the slices is landed.
        watch: tells which hosts there are.
        clock: tells the time.
        capture: captures their logs.
    """

    def __init__(self, *, config: LogConfig, watch: ClusterWatch, clock: Clock, capture: ClusterCapture) -> None:
        self._config = config
        self._watch = watch
        self._clock = clock
        self._capture = capture
        self._lock = threading.Lock()  # for what follows
        self._found: tuple[list[Slice], ControllerVm | None] | None = None
        self._is_news = False  # what was found has not been adopted yet
        self._leaving: dict[str, _Leave] = {}  # slices that are to be let go, by name
        self._stopped = False
        self._looked = threading.Event()  # once at least, with an answer or without
        self._unknown = ""  # why nothing is known of the hosts
        self._broken = ""  # why nothing is captured any more
        self._stop = threading.Event()
        self._leave_watch: Callable[[], None] = lambda: None
        self._pump = threading.Thread(target=self._pump_loop, name="iris-log-pump", daemon=True)

    def start(self) -> None:
        """Begin. Called once, by `open_log_streaming`."""
        self._leave_watch = self._watch.listen(self._hear)
        self._pump.start()

    def discovered_workers(self) -> list[str]:
        """Names of the worker hosts (`{slice}-w{index}`) discovered so far, in the order in which they were."""
        return list(self._capture.discovered_workers)

    @property
    def running(self) -> bool:
        """Whether its files are still being written: `stop` has not ended it yet, nor has a fault."""
        with self._lock:
            return not (self._stopped or self._broken)

    def stop(self) -> None:
        """Land what the engines hold at this moment, within the config's `logs.drain_seconds`, and end everything. Idempotent.

        What could not be had is told: an event `not-drained`, and a warning on the logger `iris.logs`. A question to the inventory that is
        under way is waited for: for some seconds, or where it is the first, to its end, for nothing is known of the hosts before.
        """
        self._stop.set()
        self._capture.pump.wake.set()
        self._pump.join()
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
        if problems := [*filter(None, [self._unknown, self._broken]), *self._capture.problems]:
            _logger.warning("Not everything was landed: %s", "; ".join(problems))

    def let_go(self, slice_name: str, reason: str) -> None:
        """Take leave of the hosts of a slice that is about to be deleted, as after a preemption.

        Their last lines are landed if they can be had within a few seconds, then their files are closed. Returns when that is so.

        Args:
            slice_name: which.
            reason: for the record.
        """
        leave = _Leave(reason)
        with self._lock:
            if self._stopped:
                return
            self._leaving[slice_name] = leave
        self._capture.pump.wake.set()
        self._clock.wait(leave.done, _LET_GO_SECONDS)

    def _pump_loop(self) -> None:
        pump = self._capture.pump
        try:
            while not (self._stop.is_set() and self._looked.is_set()):
                self._adopt()
                self._let_go()
                self._clock.wait(pump.wake, pump.step())
                self._clock.wait(self._stop, pump.gather_seconds)
            self._adopt()
            self._capture.drain()
            pump.run_until_done()
        except BaseException as error:
            # A fault that is no source's own: it must not look like an end in order.
            with self._lock:
                self._broken = f"the capture broke off: {error!r}"
            _logger.exception("No log is captured any more")
            pump.abandon(error)
        finally:
            self._stop.set()
            self._leave_watch()
            with self._lock:
                for leave in self._leaving.values():
                    leave.done.set()

    def _hear(self, look: Look) -> None:
        """Leave an answer of the inventory for the pump's thread."""
        with self._lock:
            if look.slices is not None:
                controller = look.controller if has_controller(self._config) else None
                self._found, self._is_news = (share_of(look.slices, self._config), controller), True
                self._unknown = ""
            elif self._found is None:
                self._unknown = f"which hosts there are was never known: {look.problem}"
        if look.is_whole:
            self._looked.set()
        self._capture.pump.wake.set()

    def _adopt(self) -> None:
        with self._lock:
            found, is_news, self._is_news = self._found, self._is_news, False
        if found is not None and (is_news or self._capture.freed):
            self._capture.adopt(*found)

    def _let_go(self) -> None:
        with self._lock:
            leaving = dict(self._leaving)
        for name, leave in leaving.items():
            self._capture.let_go(name, leave.reason)
            if self._capture.has_let_go(name):
                leave.done.set()
                with self._lock:
                    del self._leaving[name]


class _Leave:
    """A slice that is to be let go."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.done = threading.Event()


def watch_of(config: ClusterConfig, inventory: VmInventory, clock: Clock) -> ClusterWatch:
    """What asks the inventory for a process's log streaming; for the controller only where that falls to this process."""
    return ClusterWatch(
        inventory,
        clock,
        every_seconds=config.logs.discovery_seconds,
        asks_controller=has_controller(config.logs),
    )


def open_log_streaming(
    *,
    config: ClusterConfig,
    shell: RemoteShell,
    inventory: VmInventory,
    clock: Clock,
    output_dir: Path,
    controller_container: str,
    worker_container: str,
    on_event: Callable[[LogEvent], None] | None = None,
    fresh: bool = False,
    watch: ClusterWatch | None = None,
) -> LogStreamHandle:
    """Begin to land the logs of the controller and of every worker host, as they come and go.

    `controller-logs.txt`, `workers/{slice}-w{index}.txt`, and `containers/{host}/{container}.txt` for the containers that bear the
    config's `logs.container_label`, below `output_dir`, each with its events beside it. Files that are there already are continued
    where they end; with `fresh`, new ones are begun beside them (`controller-logs~2.txt`).

    Of a cluster whose logs several processes land, the slices of this one's share (`logs.shard_index`); the first has the controller.

    Args:
        config: of the cluster.
        shell: reaches its hosts.
        inventory: knows them.
        clock: tells the time.
        output_dir: where logs are landed; processes that share a cluster may share it, for each file has one writer.
        controller_container: name of the controller's container.
        worker_container: name of the workers' containers.
        on_event: hears of every event of every source, on a thread of the handle's own; must be quick.
        fresh: see above.
        watch: asks the inventory which hosts there are. None: one of the handle's own.

    Raises:
        LogFileError: `output_dir` cannot be made or written.
    """
    capture = ClusterCapture(
        config=config.logs,
        shell=shell,
        clock=clock,
        output_dir=output_dir,
        containers={HostRole.CONTROLLER: controller_container, HostRole.WORKER: worker_container},
        on_event=on_event,
        fresh=fresh,
    )
    if watch is None:
        watch = watch_of(config, inventory, clock)
    handle = LogStreamHandle(config=config.logs, watch=watch, clock=clock, capture=capture)
    handle.start()
    return handle
