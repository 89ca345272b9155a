"""The façade: a cluster that starts, is connected to, lands its logs, and stops."""

from __future__ import annotations

import logging
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from iris_core.cleanup import Selection, carry_out_cleanup, plan_cleanup
from iris_core.cluster_healing import healer_of, is_healing_wanted
from iris_core.cluster_start import ClusterStart
from iris_core.container_names import NO_CONTROLLER_NAME_GIVEN, NO_WORKER_NAME_GIVEN, container_names
from iris_core.controller_wait import wait_until_ready
from iris_core.log_streaming import watch_of
from iris_core.log_streams import LogStreams
from iris_core.progress import log_progress
from iris_core.ray_nodes import RayNodes
from iris_core.tunnel import open_tunnel
from iris_core.undo import Ending, Undo

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from iris_core.config import ClusterConfig
    from iris_core.healer import Healer
    from iris_core.log_streaming import LogStreamHandle
    from iris_core.model import ControllerVm
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell
    from iris_core.ports.vm_inventory import VmInventory
    from iris_core.progress import ProgressListener

_logger = logging.getLogger("iris.cluster")


class ClusterManager:
    """One cluster, in whichever mode: the mode is the choice of the ports. Every method may be called from any thread.

    It does not own the ports: whoever made them closes them.

    Args:
        config: what the cluster should be.
        shell: reaches its hosts.
        inventory: knows and changes its VMs.
        clock: tells the time, and waits.
    """

    def __init__(self, config: ClusterConfig, shell: RemoteShell, inventory: VmInventory, clock: Clock) -> None:
        self._config = config
        self._shell = shell
        self._inventory = inventory
        self._clock = clock
        self._watch = watch_of(config, inventory, clock)
        self._streams = LogStreams(config, shell, inventory, clock, self._watch)
        self._ray = RayNodes(config, shell, inventory, clock, self._watch)
        self._creating = threading.Lock()  # held while VMs are made or deleted: a stop sees all that a start has made
        self._lock = threading.Lock()  # for what follows; never held for long
        self._controller: ControllerVm | None = None
        self._healer: Healer | None = None
        self._give_up = threading.Event()  # set by stop, which puts a new one here for what is begun later

    @property
    def is_local(self) -> bool:
        """Whether the cluster runs in this process."""
        return self._config.is_local

    @property
    def controller(self) -> ControllerVm | None:
        """The controller as it was last seen by this manager; None before the first start and after a stop. Asks nobody."""
        with self._lock:
            return self._controller

    def start(self, listener: ProgressListener = log_progress) -> str:
        """Start the controller and the missing slices of each configured group, and wait until the controller's VM is ready.

        What is there already and fits is adopted. A slice that is stopped, failed or on its way out does not count as there; it is not
        deleted either (`stop` does that). Slices that the config wants by way of the queue are waited for; a request that was not
        fulfilled in time is deleted. Whether the controller itself answers is for `connect` to see. Where the hosts
        run Ray, they are told how to join it; those that cannot be told within the same time are named in a warning on the logger
        `iris.cluster`.

        Args:
            listener: hears what is waited for. Not given: the logger `iris.cluster`.

        Returns:
            the URL of the controller, `http://ADDRESS:PORT`: in local mode one to connect to, in GCP mode one of the VM's network.

        Raises:
            ClusterMisfitError: what is there under the cluster's name is somebody else's or does not fit; nothing was created.
            InventoryError: the cloud refused; what was created before that is there until `stop`.
            ControllerNotReadyError: the VM failed, or was not ready within the config's `controller.ready_timeout_seconds`.
            ControllerNotFoundError: the VM vanished.
            ClusterError: `stop` was called meanwhile.
        """
        give_up = self._current_give_up()
        controller, deadline = self._start(self._new_start(give_up, listener), give_up, listener)
        self._ray.tell_all(controller, deadline=deadline, give_up=give_up)
        return f"http://{controller.host.address}:{controller.port}"

    def stop(self) -> None:
        """Stop log streaming that still runs (what the engines hold is landed first), and delete the cluster. Idempotent.

        What bears the cluster's name and belongs to somebody else is left alone: a warning on the logger `iris.cluster` names it.

        A `start` or `connect` that is waiting on another thread ends with an error.

        Raises:
            CleanupIncompleteError: something is left.
            InventoryError: it is not known what there is, or what is left.
        """
        self._stop()

    def _stop(self, spared: frozenset[str] = frozenset(), *, end_first: bool = True) -> None:
        """As `stop`, but for slices and requests of the `spared` names; or not before the deletion is the streaming's end waited for."""
        with self._lock:
            self._give_all_up()
            if self._healer is not None:
                self._healer.call_off()
        undo = Undo()
        stops = [("stopping the log streaming", handle.stop) for handle in self._streams.take_all()]
        deletion = ("deleting the cluster", lambda: self._delete(spared))
        for what, step in [deletion, *stops] if end_first else [*stops, deletion]:  # the last one is taken first
            undo.owe(what, step)
        undo.carry_out()

    @contextmanager
    def connect(
        self,
        log_dir: Path | None = None,
        listener: ProgressListener = log_progress,
        *,
        end_seconds: float | None = None,
    ) -> Iterator[str]:
        """Start the cluster, land its logs in `log_dir` if it is given, and yield the URL of the controller, proven to answer.

        On exit, also after an error, the tunnel is closed, streaming ends (what the engines hold is landed first), and the cluster is
        stopped if this call has started it: if no controller ran, and this call created or started one. A cluster whose controller
        ran before, or was made by another process meanwhile, is left running, with the slices that this call added: a warning on the
        logger `iris.cluster` says so. Where the start fails, slices that were there before are left alone in any case. Slices that are
        lost meanwhile are told there too, and those of a group with `recreate` replaced, see `iris_core.healing`. An error on exit is
        raised if there was none before, and else noted on the first one and logged.

        Args:
            log_dir: see `start_log_streaming`. None: no logs are landed.
            listener: see `start`.
            end_seconds: on exit, how long the end of tunnel, healing and streaming is waited for before the cluster's deletion is begun,
                for whom little time is left; what takes longer (a host that does not answer has the config's `logs.drain_seconds`)
                goes on beside the deletion. None: to the end, so that no host is deleted whose last lines may still come.

        Yields:
            `http://127.0.0.1:PORT`, good until the context is left.

        Raises:
            IrisError: what `start`, `start_log_streaming`, `iris_core.tunnel.open_tunnel` and `stop` raise.
        """
        if log_dir is not None:
            container_names(self._config)  # complains before anything is created
        give_up = self._current_give_up()
        start = self._new_start(give_up, listener)
        is_connected = False

        def leave() -> None:
            if start.is_ours:
                self._stop(frozenset() if is_connected else start.was_there, end_first=end_seconds is None)
            else:
                self._tell_left_running()

        undo, connection, tunnel = Undo(), Undo(), ExitStack()
        ending = Ending(connection, self._clock, end_seconds)
        try:
            undo.owe("ending the connection", ending.wait)
            undo.owe("stopping the cluster", leave)
            undo.owe("ending the connection", ending.begin)
            controller, deadline = self._start(start, give_up, listener)
            handle = None if log_dir is None else self.start_log_streaming(log_dir)
            if handle is not None:
                connection.owe("stopping the log streaming", handle.stop)
            joining = self._ray.begin_joining(controller, self._remember)
            if joining is not None:
                connection.owe("ending the joining", joining.stop)
            connection.owe("closing the tunnel", tunnel.close)
            healer = self._begin_healing(log_dir, give_up)
            if healer is not None:
                # First: it calls off what is being created or deleted.
                connection.owe("ending the healing", healer.stop)
            url = tunnel.enter_context(
                open_tunnel(
                    self._shell,
                    self._clock,
                    controller,
                    timeout_seconds=max(deadline - self._clock.monotonic(), 0.0),
                    give_up=give_up,
                    find_controller=self._find_controller,
                )
            )
            is_connected = True
            if start.is_ours and start.was_there:
                _logger.warning(
                    "This connection has made the cluster's controller, and deletes the cluster when it ends, also what was there before: "
                    "%s. After `iris up`, connections leave it running.",
                    ", ".join(sorted(start.was_there)),
                )
            yield url
        except BaseException as error:
            undo.carry_out(because=error)
            raise
        undo.carry_out()

    def start_log_streaming(
        self,
        output_dir: Path,
        controller_container: str = NO_CONTROLLER_NAME_GIVEN,
        worker_container: str = NO_WORKER_NAME_GIVEN,
    ) -> LogStreamHandle | None:
        """Land the Docker logs of the controller and of every worker host, as they come and go, until the handle is stopped.

        Args:
            output_dir: made if missing; gets `controller-logs.txt` and `workers/{slice}-w{index}.txt`. What is there is continued.
            controller_container: name of the controller's container. Not given: the config's, or else `iris-controller`.
            worker_container: name of the workers' containers. Not given: the config's, or else `iris-worker`.

        Returns:
            the handle; None in local mode, which has no containers: its workers log through Python's `iris` loggers.

        Raises:
            ConfigError: the worker groups' containers have different names, and `worker_container` is not given.
            LogFileLockedError: this manager lands logs in `output_dir` already.
            LogFileError: `output_dir` cannot be made or written.
        """
        if self.is_local:
            _logger.debug("Local mode: there are no containers; add a logging.FileHandler to the logger 'iris' instead")
            return None
        return self._streams.begin(output_dir, controller_container, worker_container)

    def _new_start(self, give_up: threading.Event, listener: ProgressListener) -> ClusterStart:
        return ClusterStart(
            self._config, self._inventory, self._clock, give_up=give_up, call_off=self._call_off, listener=listener
        )

    def _start(
        self, start: ClusterStart, give_up: threading.Event, listener: ProgressListener
    ) -> tuple[ControllerVm, float]:
        """Start, and return the controller and the (monotonic) time until which it may be waited for."""
        with self._creating:
            controller = start.make(self._remember)
        # Only waiting counts: creating slices may take longer than any controller does to boot.
        seconds = self._config.controller.ready_timeout_seconds
        deadline = self._clock.monotonic() + seconds

        ready = wait_until_ready(
            self._find_controller,
            self._clock,
            controller,
            timeout_seconds=seconds,
            give_up=give_up,
            listener=listener,
        )
        return self._remember(self._ray.with_token(ready, deadline=deadline, give_up=give_up)), deadline

    def _find_controller(self) -> ControllerVm | None:
        found = self._inventory.find_controller()
        return None if found is None else self._remember(found)

    def _call_off(self) -> None:
        """End a start on which something else than an error of ours has come: waits as well as what is being made."""
        with self._lock:
            self._give_all_up()
        self._inventory.call_off()

    def _give_all_up(self) -> None:
        """End every wait that was begun before; with the lock held."""
        self._give_up.set()
        self._give_up = threading.Event()

    def _current_give_up(self) -> threading.Event:
        with self._lock:
            return self._give_up

    def _remember(self, controller: ControllerVm) -> ControllerVm:
        with self._lock:
            self._controller = controller
        return controller

    def _delete(self, spared: frozenset[str]) -> None:
        def clean_up() -> None:
            mine = Selection(owner=self._inventory.owner(), spared=spared)
            plan = plan_cleanup(self._inventory, mine, prices=self._config.prices, now=self._clock.now())
            for kept in plan.kept:
                _logger.warning("%s is left alone: %s.", kept.resource.name, kept.why)
            carry_out_cleanup(self._inventory, plan)

        with self._creating:
            if self._healer is None:
                clean_up()
            else:
                self._healer.clean_up(clean_up)
            with self._lock:
                self._controller = None

    def _begin_healing(self, log_dir: Path | None, give_up: threading.Event) -> Healer | None:
        """Begin to replace lost slices, and where logs are landed to tell of them; not twice at the same time."""
        with self._lock:
            is_healing = self._healer is not None and not self._healer.ended.is_set()
            if is_healing or not is_healing_wanted(self._config, log_dir):
                return None
            self._healer = healer = healer_of(
                self._config,
                self._shell,
                self._inventory,
                self._clock,
                watch=self._watch,
                handles=self._streams.handles,
                log_dir=log_dir,
                give_up=give_up,
            )
        healer.start()
        return healer

    def _tell_left_running(self) -> None:
        controller = self.controller
        if controller is not None:
            _logger.warning(
                "The cluster was there before and is left running: the controller %s and its workers, also those that were added. stop() "
                "deletes them.",
                controller.name,
            )
