"""What is kept of a slice that is lost before it is deleted: the last lines of its logs, and what its hosts still tell."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from iris_core.black_box import capture_black_box
from iris_core.errors import LogError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from iris_core.config import ClusterConfig
    from iris_core.healing import Loss
    from iris_core.log_streaming import LogStreamHandle
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell
    from iris_core.ports.vm_inventory import VmInventory

_logger = logging.getLogger("iris.cluster")


def take_last_words(
    loss: Loss,
    *,
    config: ClusterConfig,
    shell: RemoteShell,
    inventory: VmInventory,
    clock: Clock,
    handles: Iterable[LogStreamHandle],
    log_dir: Path | None,
) -> None:
    """Land what is left to land, then capture the black box into `log_dir` (None: nothing more). Takes a bounded time, raises nothing."""
    for handle in handles:
        handle.let_go(loss.slice.name, loss.reason)
    if log_dir is None:
        return
    try:
        black_box = capture_black_box(
            config=config,
            shell=shell,
            inventory=inventory,
            clock=clock,
            resources=[loss.slice],
            directory=log_dir,
            with_logs=False,
        )
    except LogError as error:
        _logger.warning("Nothing was captured of %s before its deletion: %s", loss.slice.name, error)
    else:
        for problem in black_box.problems:
            _logger.info("Not captured before the deletion: %s", problem)
