"""Slices by way of Google's queue: asking, waiting, and taking back what was not fulfilled in time."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from iris_core.config import QueuedConfig
from iris_core.errors import ClusterError, InventoryError, IrisError, OutOfCapacityError, QuotaExceededError
from iris_core.model import VmPhase
from iris_core.parallel import do_each
from iris_core.patience import Patience
from iris_core.progress import Progress, Stage

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from iris_core.config import WorkerGroupConfig
    from iris_core.model import QueuedSlice
    from iris_core.ports.clock import Clock
    from iris_core.ports.vm_inventory import VmInventory
    from iris_core.progress import ProgressListener

_POLL_SECONDS: Final = 10.0  # one gcloud command for all requests together; the queue itself moves in minutes

# A request that Google has begun to fulfil when its time is over is let finish, for as long as a slice takes to boot.
_GRANTED_GRACE: Final = timedelta(minutes=20)

_ADVICE: Final[Mapping[type[InventoryError], str]] = {
    OutOfCapacityError: "Try again later, in another zone, or with another type.",
    QuotaExceededError: "Delete what is no longer needed, or ask for more quota; trying again does not help until then.",
}


def check_wanted(give_up: threading.Event) -> None:
    """Go on only if nobody has stopped the cluster.

    Raises:
        ClusterError: somebody has.
    """
    if give_up.is_set():
        raise ClusterError("The cluster was stopped while it was being started.")


class QueuedSlices:
    """Requests of one start, from asking until each has become a slice or an error.

    Args:
        inventory: asks for them, lists them, deletes them.
        clock: every wait goes through it.
        give_up: ends the waiting when it is set; the requests stay where they are.
        call_off: see `do_each`.
        at_once: how many things are done at the same time.
        listener: hears what is waited for.
    """

    def __init__(
        self,
        inventory: VmInventory,
        clock: Clock,
        *,
        give_up: threading.Event,
        call_off: Callable[[], object],
        at_once: int,
        listener: ProgressListener,
    ) -> None:
        self._inventory = inventory
        self._clock = clock
        self._give_up = give_up
        self._call_off = call_off
        self._at_once = at_once
        self._listener = listener

    def obtain(self, wanted: Mapping[str, tuple[WorkerGroupConfig, QueuedSlice | None]]) -> list[IrisError]:
        """Ask for those that there is no request for yet, and wait for all.

        Args:
            wanted: by title, the group, and the request that waits already (None: there is none).

        Returns:
            why those that did not become slices did not. Their requests are deleted.

        Raises:
            ClusterError: `give_up` was set meanwhile.
            InventoryError: it is not known how the requests stand, and was not for some minutes.
        """
        titles = list(wanted)
        began = self._clock.now()
        asked = do_each(
            lambda title: self._ask(title, *wanted[title]), titles, call_off=self._call_off, at_once=self._at_once
        )
        failures = [outcome for outcome in asked if isinstance(outcome, IrisError)]
        waiting = {
            title: (outcome, _deadline(wanted[title][0], outcome, began))
            for title, outcome in zip(titles, asked, strict=True)
            if not isinstance(outcome, IrisError)
        }
        patience = Patience(self._clock, "how the requests for slices stand")
        while waiting:
            try:
                found = {request.name: request for request in self._inventory.list_queued()}
            except InventoryError as failure:
                patience.bear(failure)  # they go on waiting in their queue meanwhile
                self._pause()
                continue
            patience.answered()
            over: dict[str, tuple[QueuedSlice, IrisError]] = {}
            for title, (request, deadline) in list(waiting.items()):
                error = self._look(title, request, found.get(request.name), deadline)
                if error is None:
                    continue
                del waiting[title]
                if isinstance(error, IrisError):
                    over[title] = (found.get(request.name, request), error)
            failures += self._take_back(over)
            if waiting:
                self._pause()
        return failures

    def _pause(self) -> None:
        self._clock.wait(self._give_up, _POLL_SECONDS)
        check_wanted(self._give_up)

    def _ask(self, title: str, group: WorkerGroupConfig, request: QueuedSlice | None) -> QueuedSlice:
        check_wanted(self._give_up)
        if request is None:
            self._listener(Progress(title, Stage.WAITING, "being asked for"))
            try:
                request = self._inventory.queue_slice(group)
            except IrisError as error:
                self._listener(Progress(title, Stage.FAILED, str(error)))
                raise
        return request

    def _look(
        self, title: str, asked: QueuedSlice, now: QueuedSlice | None, deadline: datetime
    ) -> IrisError | bool | None:
        """How a request stands: None: it waits; True: the slice is there; else why there will be none."""
        if now is None:
            return ClusterError(
                f"The request {asked.name} for a slice vanished while iris waited for it: somebody has deleted it."
            )
        if now.phase is VmPhase.READY:
            self._listener(Progress(title, Stage.DONE, f"{now.name} is there"))
            return True
        if now.phase is not VmPhase.PENDING:
            return now.failure(
                f"The request {now.name} for a slice came to nothing: it is {now.state}.",
                detail=now.problem,
                advice=_ADVICE.get(now.failure, ""),
            )
        if self._clock.now() >= deadline + (_GRANTED_GRACE if now.is_granted else timedelta()):
            return OutOfCapacityError(
                f"The request {now.name} for a slice was not fulfilled in time (it is {now.state}), so it is withdrawn.",
                advice="Try again later, in another zone or with another type, or let it wait longer "
                "(workers.queued.wait_minutes).",
            )
        self._listener(Progress(title, Stage.WAITING, _waiting_text(now, deadline)))
        return None

    def _take_back(self, over: Mapping[str, tuple[QueuedSlice, IrisError]]) -> Sequence[IrisError]:
        """Delete the requests that came to nothing: they count against the quota, and might still be fulfilled."""
        for title, (_, error) in over.items():
            self._listener(Progress(title, Stage.FAILED, str(error)))
        requests = [request for request, _ in over.values()]
        outcomes = do_each(self._inventory.delete, requests, call_off=self._call_off, at_once=self._at_once)
        for (request, error), outcome in zip(over.values(), outcomes, strict=True):
            if isinstance(outcome, InventoryError):
                error.add_note(
                    f"{request.name} could not be deleted and may still become a slice that costs money: {outcome}"
                )
        return [error for _, error in over.values()]


def _deadline(group: WorkerGroupConfig, request: QueuedSlice, began: datetime) -> datetime:
    """Until when it may wait; one of an earlier start has used up some of its time."""
    minutes = (group.queued or QueuedConfig()).wait_minutes
    return (request.created_at or began) + timedelta(minutes=minutes)


def _waiting_text(request: QueuedSlice, deadline: datetime) -> str:
    if request.is_granted:
        return f"{request.name} has left the queue and is being made ({request.state})"
    return f"{request.name} waits in the queue ({request.state}), until {deadline.astimezone():%H:%M} at most"
