"""Landing the logs of a whole cluster for as long as one likes: `open_log_streaming` and the handle that stops it.

Two threads, however many hosts: one moves the sources (`LogPump.step`), one asks the inventory which hosts there are.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from iris_core.cluster_capture import ClusterCapture
from iris_core.errors import InventoryError
from iris_core.model import HostRole
from iris_core.worker_discovery import has_controller, share_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from iris_core.config import ClusterConfig
    from iris_core.log_events import LogEvent
    from iris_core.model import ControllerVm, Slice
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell
    from iris_core.ports.vm_inventory import VmInventory

_logger = logging.getLogger("iris.logs")

_CONTROLLER_EVERY: Final = 6  # looks at the slices for one at the controller, which hardly ever changes
_MOST_DISCOVERY_BACKOFF: Final = 6  # in discovery intervals, while the inventory does not answer


class LogStreamHandle:
    """Log streaming that runs in the background until `stop`. Made and started by `open_log_streaming`.

    Args:
        config: of the cluster.
        inventory: knows its hosts.
        clock: tells the time.
        capture: captures their logs.
    """

    def __init__(self, *, config: ClusterConfig, inventory: VmInventory, clock: Clock, capture: ClusterCapture) -> None:
        self._config = config
        self._inventory = inventory
        self._clock = clock
        self._capture = capture
        self._lock = threading.Lock()  # for what follows
        self._found: tuple[list[Slice], ControllerVm | None] | None = None
        self._is_news = False  # what was found has not been adopted yet
        self._stopped = False
        self._looked = threading.Event()  # once at least, with an answer or without
        self._unknown = ""  # why nothing is known of the hosts
        self._broken = ""  # why nothing is captured any more
        self._stop = threading.Event()
        self._discovery = threading.Thread(target=self._discovery_loop, name="iris-log-discovery", daemon=True)
        self._pump = threading.Thread(target=self._pump_loop, name="iris-log-pump", daemon=True)

    def start(self) -> None:
        """Begin. Called once, by `open_log_streaming`."""
        self._discovery.start()
        self._pump.start()

    def discovered_workers(self) -> list[str]:
        """Names of the worker hosts (`{slice}-w{index}`) discovered so far, in the order in which they were."""
        return list(self._capture.discovered_workers)

    @property
    def running(self) -> bool:
        """Whether `stop` has not ended it yet: its files are still being written."""
        with self._lock:
            return not self._stopped

    def stop(self) -> None:
        """Land what the engines hold at this moment, within the config's `logs.drain_seconds`, and end everything. Idempotent.

        What could not be had is told: an event `not-drained`, and a warning on the logger `iris.logs`. A question to the inventory that is
        under way is waited for; where it is the first, the drain begins after it, for nothing is known of the hosts before.
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

    def _pump_loop(self) -> None:
        pump = self._capture.pump
        try:
            while not (self._stop.is_set() and self._looked.is_set()):
                self._adopt()
                self._clock.wait(pump.wake, pump.step())
            self._adopt()
            self._capture.drain()
            pump.run_until_done()
        except BaseException as error:  # a bug: it must not look like an end in order
            self._broken = f"the capture broke off: {error!r}"
            raise
        finally:
            self._stop.set()
            self._discovery.join()

    def _discovery_loop(self) -> None:
        answers, failures = 0, 0
        while True:
            try:
                self._look(with_controller=answers % _CONTROLLER_EVERY == 0)
            except Exception as error:  # an inventory may have bugs, too: the next look may go well
                failures += 1
                if not answers:
                    self._unknown = f"which hosts there are was never known: {error}"
                _logger.warning(
                    "Which hosts there are is not known at the moment; what is captured goes on. %s",
                    error,
                    exc_info=not isinstance(error, InventoryError),
                )
            else:
                answers, failures, self._unknown = answers + 1, 0, ""
            finally:
                self._looked.set()
                self._capture.pump.wake.set()
            intervals = min(_MOST_DISCOVERY_BACKOFF, 2 ** min(failures, _MOST_DISCOVERY_BACKOFF))
            if self._clock.wait(self._stop, self._config.logs.discovery_seconds * intervals):
                return

    def _look(self, *, with_controller: bool) -> None:
        """Ask the inventory once, and leave the answers for the pump's thread: the slices also if the controller is not known."""
        slices = share_of(self._inventory.list_slices(), self._config.logs)
        with self._lock:
            controller = self._found[1] if self._found else None
            self._found, self._is_news = (slices, controller), True
        self._capture.pump.wake.set()
        if has_controller(self._config.logs) and (with_controller or controller is None):
            controller = self._inventory.find_controller()
            with self._lock:
                self._found, self._is_news = (slices, controller), True

    def _adopt(self) -> None:
        with self._lock:
            found, is_news, self._is_news = self._found, self._is_news, False
        if found is not None and (is_news or self._capture.freed):
            self._capture.adopt(*found)


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
    handle = LogStreamHandle(config=config, inventory=inventory, clock=clock, capture=capture)
    handle.start()
    return handle
