"""The step of a start that takes long: making what is missing."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from iris_core.controller_wait import wait_until_gone
from iris_core.errors import IrisError, ResourceExistsError
from iris_core.fit import controller_misfits
from iris_core.model import QueuedSlice, VmPhase, controller_name
from iris_core.parallel import do_each
from iris_core.progress import Progress, Stage
from iris_core.queued_slices import QueuedSlices, check_wanted
from iris_core.start_plan import failed_requests, plan_start, surplus_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iris_core.config import ClusterConfig
    from iris_core.model import ControllerVm, Slice
    from iris_core.ports.clock import Clock
    from iris_core.ports.vm_inventory import VmInventory
    from iris_core.progress import ProgressListener
    from iris_core.start_plan import Wanted

_logger = logging.getLogger("iris.cluster")


class ClusterStart:
    """Makes what is missing of a cluster: the controller and the slices of every group, several at a time.

    Args:
        config: what the cluster should be.
        inventory: knows what there is, and makes the rest.
        clock: every wait goes through it.
        give_up: ends it when another thread sets it.
        call_off: ends what is being made, and sets `give_up`; see `do_each`.
        listener: hears what is waited for.

    Attributes:
        is_ours: whether the cluster is this start's to delete: no controller ran, and this has created or started one, or may have, for it
            was interrupted, or does not know. Not before anything is made, and not where another process was quicker.
        was_there: names of the slices, and of the requests for one, that this has not made.
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
        self.is_ours = False
        self.was_there: frozenset[str] = frozenset()
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
            ClusterMisfitError: what is there does not fit; nothing was made.
            InventoryError: the first failure, once all has been tried; the others are logged.
            ClusterError: `give_up` was set meanwhile.
        """
        check_wanted(self._give_up)
        if self._config.is_local:
            self._controller = self._inventory.find_controller()
            self.is_ours = not _runs(self._controller)
            controller = self._ensure_controller()
            found(controller)
            return controller
        wanted = self._plan()
        self._delete_failed()
        self.is_ours = not _runs(self._controller)
        made: list[ControllerVm] = []

        def make_controller() -> list[IrisError]:
            made.append(self._make_controller(found))
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
        slices, requests = self._look()
        while self._controller is not None and self._controller.phase is VmPhase.DELETING:
            # Until then it is not known what becomes of it, nor of the slices: nothing, or a VM that is stopped and somebody else's.
            wait_until_gone(
                self._inventory.find_controller,
                self._clock,
                self._controller,
                timeout_seconds=self._config.controller.ready_timeout_seconds,
                give_up=self._give_up,
                listener=self._listener,
            )
            slices, requests = self._look()
        self.was_there = frozenset([*(one.name for one in requests), *(one.name for one in slices)])
        wanted = plan_start(
            self._config, owner=self._owner, controller=self._controller, slices=slices, requests=requests
        )
        self._failed = failed_requests(self._owner, slices, requests)
        if surplus := surplus_of(wanted, owner=self._owner, slices=slices, requests=requests):
            _logger.warning(
                "This of the cluster is more than the configuration wants, goes on, and costs money: %s. `iris down` deletes it with the "
                "rest; it alone can be deleted in the Cloud console.",
                ", ".join(sorted(one.name for one in surplus)),
            )
        for one in wanted:
            if one.there is not None and not isinstance(one.there, QueuedSlice):
                self._listener(
                    Progress(one.title, Stage.DONE, f"{one.there.name} is there already ({one.there.state})")
                )
        return wanted

    def _look(self) -> tuple[list[Slice], list[QueuedSlice]]:
        """What there is of workers; owner and controller are kept."""
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
        return slices, requests

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

    def _make_controller(self, found: Callable[[ControllerVm], object]) -> ControllerVm:
        check_wanted(self._give_up)
        name = controller_name(self._config.label_prefix)
        there = self._controller is not None
        self._listener(Progress(name, Stage.WAITING, "its VM is there already" if there else "its VM is being created"))
        try:
            controller = self._ensure_controller()
        except IrisError as error:
            self._listener(Progress(name, Stage.FAILED, str(error)))
            raise
        found(controller)
        # Somebody may have been quicker, since it was looked for.
        if problems := controller_misfits(controller, self._config.controller, owner=self._owner):
            raise ResourceExistsError(
                f"The controller's VM {name} was made by somebody else just now: {'; '.join(problems)}.",
                advice="Take another label_prefix.",
            )
        return controller

    def _ensure_controller(self) -> ControllerVm:
        made = threading.Event()
        controller = self._inventory.ensure_controller(made.set)
        self.is_ours = made.is_set()
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


def _runs(controller: ControllerVm | None) -> bool:
    """Whether there is a controller that runs, or is about to."""
    return controller is not None and controller.phase in {VmPhase.PENDING, VmPhase.READY}


def _raise_first(outcomes: Sequence[list[IrisError] | IrisError]) -> None:
    """Raise the first of the errors, and log the others."""
    errors = [error for outcome in outcomes for error in (outcome if isinstance(outcome, list) else [outcome])]
    for other in errors[1:]:
        _logger.error("That is not all that failed: %s", other)
    if errors:
        raise errors[0]
