"""What the healing of a whole cluster consists of: which slices are watched, how another is made, what is kept of a lost one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iris_core.healer import Healer
from iris_core.last_words import take_last_words
from iris_core.replacing import Orders

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from iris_core.cluster_watch import ClusterWatch
    from iris_core.config import ClusterConfig, WorkerGroupConfig
    from iris_core.healing import Loss
    from iris_core.log_streaming import LogStreamHandle
    from iris_core.model import QueuedSlice, Slice
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell
    from iris_core.ports.vm_inventory import VmInventory


def is_healing_wanted(config: ClusterConfig, log_dir: Path | None) -> bool:
    """Whether lost slices are to be told (where logs are landed, in `log_dir`) or replaced. Local workers are not lost."""
    return not config.is_local and (log_dir is not None or any(group.recreate for group in config.workers))


def healer_of(
    config: ClusterConfig,
    shell: RemoteShell,
    inventory: VmInventory,
    clock: Clock,
    *,
    watch: ClusterWatch,
    handles: Callable[[], Iterable[LogStreamHandle]],
    log_dir: Path | None,
    give_up: threading.Event,
) -> Healer:
    """What heals this cluster, not started yet.

    Args:
        config: of the cluster.
        shell: reaches its hosts.
        inventory: knows and changes its slices.
        clock: tells the time.
        watch: tells what is listed.
        handles: the log streaming that lands the last lines of a slice before it is deleted.
        log_dir: where a lost slice's black box is captured. None: nowhere.
        give_up: set when the cluster is being stopped.
    """

    def create(group: WorkerGroupConfig) -> Slice | QueuedSlice:
        return inventory.create_slice(group) if group.queued is None else inventory.queue_slice(group)

    def before_delete(loss: Loss) -> None:
        take_last_words(
            loss,
            config=config,
            shell=shell,
            inventory=inventory,
            clock=clock,
            handles=handles(),
            log_dir=log_dir,
        )

    return Healer(
        groups=config.workers,
        watch=watch,
        inventory=inventory,
        clock=clock,
        orders=Orders(create=create, before_delete=before_delete, is_unwanted=give_up.is_set),
    )
