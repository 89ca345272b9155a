"""The steps of a start that take long: making what is missing, and waiting for a controller that boots."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from iris_core.errors import ControllerNotFoundError, ControllerNotReadyError, IrisError, ResourceExistsError
from iris_core.fit import controller_misfits
from iris_core.model import QueuedSlice, VmPhase, controller_name
from iris_core.parallel import do_each
from iris_core.progress import Progress, Stage, log_progress
from iris_core.queued_slices import QueuedSlices, check_wanted
from iris_core.start_plan import failed_requests, plan_start

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Sequence

    from iris_core.config import ClusterConfig
    from iris_core.model import ControllerVm, Slice
    from iris_core.ports.clock import Clock
    from iris_core.ports.vm_inventory import VmInventory
    from iris_core.progress import ProgressListener
    from iris_core.start_plan import Wanted

_logger = logging.getLogger("iris.cluster")

_POLL_SECONDS: Final = (
    5.0  # between looks at a controller that boots; in GCP mode each is a gcloud command of a second or two
)


class ClusterStart:
    """Makes what is missing of a cluster: the controller and the slices of every group, several at a time.

    Args:
        config: what the cluster should be.
        inventory: knows what there is, and makes the rest.
        clock: every wait goes through it.
        give_up: ends it when another thread sets it.
        call_off: ends what is being made, and sets `give_up`; see `do_each`.
        listener: hears what is waited for.
    """

    def __init__(
        self,
        config: ClusterConfig,
        inventory: VmInventory,
        clock: Clock,
        *,
        give_up: threading.Event,
        call_off: Callable[[], object],
        listener: ProgressListener,
    ) -> None:
        self._config = config
        self._inventory = inventory
        self._clock = clock
        self._give_up = give_up
        self._call_off = call_off
        self._listener = listener
        self._at_once = config.gcp.most_gcloud_commands if config.gcp else 1
        self._owner = ""
        self._controller: ControllerVm | None = None
        self._failed: list[QueuedSlice] = []  # requests, which are deleted first

    def make(self, found: Callable[[ControllerVm], object]) -> ControllerVm:
        """Adopt what is there and fits, make the rest, and return the controller as it is then: it may not be ready yet.

        Args:
            found: is given the controller as soon as it is there.

        Raises:
            ResourceExistsError: what is there does not fit; nothing was made.
            InventoryError: the first failure, once all has been tried; the others are logged.
            ClusterError: `give_up` was set meanwhile.
        """
        check_wanted(self._give_up)
        if self._config.is_local:
            controller = self._inventory.ensure_controller()
            found(controller)
            return controller
        wanted = self._plan()
        self._delete_failed()
        made: list[ControllerVm] = []

        def make_controller() -> list[IrisError]:
            made.append(self._make_controller())
            found(made[0])
            return []

        missing = [one for one in wanted if one.there is None and one.group.queued is None]
        in_queue = {
            one.title: (one.group, one.there if isinstance(one.there, QueuedSlice) else None)
            for one in wanted
            if isinstance(one.there, QueuedSlice) or (one.there is None and one.group.queued is not None)
        }
        tasks: list[Callable[[], list[IrisError]]] = [make_controller]
        if in_queue:
            tasks.append(lambda: self._queue().obtain(in_queue))
        tasks += [lambda one=one: self._create(one) for one in missing]  # type: ignore[misc]
        # Waiting for the queue takes a thread and hardly ever a command.
        outcomes = do_each(lambda task: task(), tasks, call_off=self._call_off, at_once=self._at_once + bool(in_queue))
        _raise_first(outcomes)
        return made[0]

    def _plan(self) -> list[Wanted]:
        """What there is to be, once it is known what there is and that it fits."""
        owner: list[str] = []
        controllers: list[ControllerVm | None] = []
        requests: list[QueuedSlice] = []
        slices: list[Slice] = []

        def list_workers() -> None:
            # In this order: a request that is fulfilled in between is there twice, and not missed.
            requests.extend(self._inventory.list_queued())
            slices.extend(self._inventory.list_slices())

        looks: list[Callable[[], object]] = [
            lambda: owner.append(self._inventory.owner()),
            lambda: controllers.append(self._inventory.find_controller()),
            list_workers,
        ]
        outcomes = do_each(lambda look: look(), looks, call_off=self._call_off, at_once=self._at_once)
        _raise_first([[outcome] if isinstance(outcome, IrisError) else [] for outcome in outcomes])
        (self._owner,), (self._controller,) = owner, controllers
        wanted = plan_start(
            self._config, owner=self._owner, controller=self._controller, slices=slices, requests=requests
        )
        self._failed = failed_requests(self._owner, slices, requests)
        for one in wanted:
            if one.there is not None and not isinstance(one.there, QueuedSlice):
                self._listener(
                    Progress(one.title, Stage.DONE, f"{one.there.name} is there already ({one.there.state})")
                )
        return wanted

    def _delete_failed(self) -> None:
        """Delete the requests that have come to nothing. One that cannot be deleted is told, and stops nothing."""

        def delete(request: QueuedSlice) -> None:
            check_wanted(self._give_up)
            why = request.state + (f": {request.problem}" if request.problem else "")
            self._listener(Progress(request.name, Stage.WAITING, f"has come to nothing ({why}), and is being deleted"))
            try:
                self._inventory.delete(request)
            except IrisError as error:
                text = f"has come to nothing, counts against the quota, and could not be deleted: {error}"
                self._listener(Progress(request.name, Stage.FAILED, text))
            else:
                self._listener(Progress(request.name, Stage.DONE, "has come to nothing, and was deleted"))

        do_each(delete, self._failed, call_off=self._call_off, at_once=self._at_once)

    def _make_controller(self) -> ControllerVm:
        check_wanted(self._give_up)
        name = controller_name(self._config.label_prefix)
        there = self._controller is not None
        self._listener(Progress(name, Stage.WAITING, "its VM is there already" if there else "its VM is being created"))
        try:
            controller = self._inventory.ensure_controller()
        except IrisError as error:
            self._listener(Progress(name, Stage.FAILED, str(error)))
            raise
        # Somebody may have been quicker, since it was looked for.
        if problems := controller_misfits(controller, self._config.controller, owner=self._owner):
            raise ResourceExistsError(
                f"The controller's VM {name} was made by somebody else just now: {'; '.join(problems)}.",
                advice="Take another label_prefix.",
            )
        return controller

    def _create(self, wanted: Wanted) -> list[IrisError]:
        check_wanted(self._give_up)
        self._listener(Progress(wanted.title, Stage.WAITING, "is being created, which takes minutes"))
        try:
            created = self._inventory.create_slice(wanted.group)
        except IrisError as error:
            self._listener(Progress(wanted.title, Stage.FAILED, str(error)))
            raise
        self._listener(Progress(wanted.title, Stage.DONE, f"{created.name} is there ({created.state})"))
        return []

    def _queue(self) -> QueuedSlices:
        return QueuedSlices(
            self._inventory,
            self._clock,
            give_up=self._give_up,
            call_off=self._call_off,
            at_once=self._at_once,
            listener=self._listener,
        )


def _raise_first(outcomes: Sequence[list[IrisError] | IrisError]) -> None:
    """Raise the first of the errors, and log the others."""
    errors = [error for outcome in outcomes for error in (outcome if isinstance(outcome, list) else [outcome])]
    for other in errors[1:]:
        _logger.error("That is not all that failed: %s", other)
    if errors:
        raise errors[0]


def wait_until_ready(
    look: Callable[[], ControllerVm | None],
    clock: Clock,
    controller: ControllerVm,
    *,
    timeout_seconds: float,
    give_up: threading.Event,
    listener: ProgressListener = log_progress,
) -> ControllerVm:
    """Wait until the controller's VM is ready and has an address, and return it as it is then.

    Args:
        look: asks for the controller; None if there is none any more.
        clock: every wait goes through it.
        controller: as it is now.
        timeout_seconds: for all of it.
        give_up: ends the waiting when another thread sets it.
        listener: hears what is waited for.

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
        listener(Progress(controller.name, Stage.WAITING, f"waited for: {problem}"))
        clock.wait(give_up, min(_POLL_SECONDS, left))
        check_wanted(give_up)
        found = look()
        if found is None:
            raise ControllerNotFoundError(
                f"The controller {controller.name} vanished while iris waited for it: somebody else has deleted it."
            )
        controller = found
    listener(Progress(controller.name, Stage.DONE, f"its VM is ready, at {controller.host.address}"))
    return controller


def _problem_of(controller: ControllerVm) -> str:
    if controller.phase is VmPhase.READY:
        return "it has no address"
    return f"it is {controller.phase}" + (f", {controller.state}" if controller.state else "")
