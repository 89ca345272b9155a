"""What a cluster whose hosts run Ray needs beyond any other: the controller's token, and worker hosts that are told how to join."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iris_core.ray_join import RayJoin
from iris_core.ray_joining import RayJoining, tell_all, with_token

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from iris_core.cluster_watch import ClusterWatch
    from iris_core.config import ClusterConfig
    from iris_core.model import ControllerVm
    from iris_core.ports.clock import Clock
    from iris_core.ports.remote_shell import RemoteShell
    from iris_core.ports.vm_inventory import VmInventory


class RayNodes:
    """The Ray of one cluster, or that it has none: then every method does nothing.

    Args:
        config: of the cluster.
        shell: reaches its hosts.
        inventory: knows them.
        clock: every wait goes through it.
        watch: tells which hosts come while somebody is connected.
    """

    def __init__(
        self, config: ClusterConfig, shell: RemoteShell, inventory: VmInventory, clock: Clock, watch: ClusterWatch
    ) -> None:
        self._there = not config.is_local and config.controller.container.runs_ray
        self._use_sudo = config.logs.use_sudo
        self._shell = shell
        self._inventory = inventory
        self._clock = clock
        self._watch = watch
        self._join = RayJoin(shell, clock, use_sudo=config.logs.use_sudo)

    def with_token(self, controller: ControllerVm, *, deadline: float, give_up: threading.Event) -> ControllerVm:
        """The controller with its token; see `iris_core.ray_joining.with_token`.

        Args:
            controller: whose VM is ready.
            deadline: until when (monotonic) its host may be waited for.
            give_up: ends the waiting when another thread sets it.
        """
        if not self._there:
            return controller
        return with_token(
            self._shell,
            self._clock,
            controller,
            use_sudo=self._use_sudo,
            timeout_seconds=self._left(deadline),
            give_up=give_up,
        )

    def tell_all(self, controller: ControllerVm, *, deadline: float, give_up: threading.Event) -> None:
        """Tell every worker host how to join; see `iris_core.ray_joining.tell_all`.

        Args:
            controller: with its token.
            deadline: until when (monotonic) they may be waited for.
            give_up: ends the waiting when another thread sets it.
        """
        if self._there:
            left = self._left(deadline)
            tell_all(self._join, self._inventory, self._clock, controller, timeout_seconds=left, give_up=give_up)

    def begin_joining(
        self, controller: ControllerVm, on_controller: Callable[[ControllerVm], object]
    ) -> RayJoining | None:
        """Begin to tell worker hosts as they come, see `RayJoining`, which is to be stopped; None where there is no Ray.

        Args:
            controller: with its token.
            on_controller: hears of a controller that was made anew, with its token.
        """
        if not self._there:
            return None
        joining = RayJoining(
            join=self._join,
            watch=self._watch,
            shell=self._shell,
            clock=self._clock,
            use_sudo=self._use_sudo,
            controller=controller,
            on_controller=on_controller,
        )
        joining.start()
        return joining

    def _left(self, deadline: float) -> float:
        return max(deadline - self._clock.monotonic(), 0.0)
