"""The two steps of a start that take long: slices that are missing, and a controller that boots."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from iris_core.errors import ClusterError, ControllerNotFoundError, ControllerNotReadyError, IrisError
from iris_core.model import VmPhase
from iris_core.parallel import do_each

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from iris_core.config import WorkerGroupConfig
    from iris_core.model import ControllerVm, Slice
    from iris_core.ports.clock import Clock
    from iris_core.ports.vm_inventory import VmInventory

_logger = logging.getLogger("iris.cluster")

_POLL_SECONDS: Final = (
    5.0  # between looks at a controller that boots; in GCP mode each is a gcloud command of a second or two
)
_USABLE: Final = frozenset({VmPhase.PENDING, VmPhase.READY})


def check_wanted(give_up: threading.Event) -> None:
    """Go on only if nobody has stopped the cluster.

    Raises:
        ClusterError: somebody has.
    """
    if give_up.is_set():
        raise ClusterError("The cluster was stopped while it was being started.")


def create_missing_slices(
    inventory: VmInventory, groups: Sequence[WorkerGroupConfig], give_up: threading.Event
) -> None:
    """Create, four at a time, as many slices as each group lacks.

    A slice that is stopped, failed or on its way out does not count as there; it is left as it is.

    Raises:
        InventoryError: the first failure, once all have been tried; the others are logged.
        ClusterError: `give_up` was set meanwhile.
    """
    usable = [slice_.group for slice_ in inventory.list_slices() if slice_.phase in _USABLE]
    missing = [group for group in groups for _ in range(max(group.count - usable.count(group.name), 0))]

    def create(group: WorkerGroupConfig) -> Slice:
        check_wanted(give_up)
        created = inventory.create_slice(group)
        _logger.info("Created the slice %s", created.name)
        return created

    failures = [
        outcome for outcome in do_each(create, missing, call_off=inventory.call_off) if isinstance(outcome, IrisError)
    ]
    if failures:
        for other in failures[1:]:
            _logger.error("Another slice could not be created: %s", other)
        raise failures[0]


def wait_until_ready(
    look: Callable[[], ControllerVm | None],
    clock: Clock,
    controller: ControllerVm,
    *,
    timeout_seconds: float,
    give_up: threading.Event,
) -> ControllerVm:
    """Wait until the controller's VM is ready and has an address, and return it as it is then.

    Args:
        look: asks for the controller; None if there is none any more.
        clock: every wait goes through it.
        controller: as it is now.
        timeout_seconds: for all of it.
        give_up: ends the waiting when another thread sets it.

    Raises:
        ControllerNotReadyError: it failed, or was not ready within the time.
        ControllerNotFoundError: it vanished.
        ClusterError: `give_up` was set meanwhile.
        InventoryError: it is not known how it is.
    """
    deadline = clock.monotonic() + timeout_seconds
    while controller.phase is not VmPhase.READY or not controller.host.address:
        problem = _problem_of(controller)
        left = deadline - clock.monotonic()
        if controller.phase is VmPhase.FAILED:
            end = "will not come up by itself: stop the cluster, and start it again"
        else:
            end = "" if left > 0 else f"was not ready within {timeout_seconds:g} s"
        if end:
            raise ControllerNotReadyError(
                f"The controller's VM {controller.name} {end} ({problem}).", seconds=timeout_seconds, problem=problem
            )
        _logger.info("Waiting for the controller %s: %s", controller.name, problem)
        clock.wait(give_up, min(_POLL_SECONDS, left))
        check_wanted(give_up)
        found = look()
        if found is None:
            raise ControllerNotFoundError(
                f"The controller {controller.name} vanished while iris waited for it: somebody else has deleted it."
            )
        controller = found
    return controller


def _problem_of(controller: ControllerVm) -> str:
    if controller.phase is VmPhase.READY:
        return "it has no address"
    return f"it is {controller.phase}" + (f", {controller.state}" if controller.state else "")
