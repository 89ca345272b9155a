"""The log streaming of one manager: what lands in which directory, never two in the same."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from iris_core.container_names import container_names
from iris_core.errors import LogFileLockedError
from iris_core.log_streaming import open_log_streaming

if TYPE_CHECKING:
    from pathlib import Path

    from iris_core.cluster_watch import ClusterWatch
    from iris_core.config import ClusterConfig
    from iris_core.log_streaming import LogStreamHandle
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell
    from iris_core.ports.vm_inventory import VmInventory


class LogStreams:
    """The handles of what was begun, by directory. Every method may be called from any thread.

    Args:
        config: of the cluster.
        shell: reaches its hosts.
        inventory: knows them.
        clock: tells the time.
        watch: asks the inventory which hosts there are, for all of them.
    """

    def __init__(
        self, config: ClusterConfig, shell: RemoteShell, inventory: VmInventory, clock: Clock, watch: ClusterWatch
    ) -> None:
        self._config = config
        self._shell = shell
        self._inventory = inventory
        self._clock = clock
        self._watch = watch
        self._lock = threading.Lock()
        self._handles: dict[Path, LogStreamHandle] = {}

    def begin(self, output_dir: Path, controller_container: str, worker_container: str) -> LogStreamHandle:
        """Begin to land the cluster's logs in a directory.

        Args:
            output_dir: see `open_log_streaming`.
            controller_container: see `container_names`.
            worker_container: see `container_names`.

        Raises:
            ConfigError: see `container_names`.
            LogFileLockedError: logs are landed there already.
            LogFileError: see `open_log_streaming`.
        """
        controller_container, worker_container = container_names(self._config, controller_container, worker_container)
        key = output_dir.resolve()
        with self._lock:
            running = self._handles.get(key)
            if running is not None and running.running:
                raise LogFileLockedError(
                    f"Logs are being landed in {output_dir} already: stop that handle first, or choose another directory.",
                    path=output_dir,
                )
            handle = open_log_streaming(
                config=self._config,
                shell=self._shell,
                inventory=self._inventory,
                clock=self._clock,
                output_dir=output_dir,
                controller_container=controller_container,
                worker_container=worker_container,
                watch=self._watch,
            )
            self._handles[key] = handle
        return handle

    def handles(self) -> list[LogStreamHandle]:
        """Those that were begun."""
        with self._lock:
            return list(self._handles.values())

    def take_all(self) -> list[LogStreamHandle]:
        """Those that were begun, and forget them: the caller stops them."""
        with self._lock:
            handles = list(self._handles.values())
            self._handles.clear()
        return handles
