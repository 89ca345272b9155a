"""Replacing the slices that are due to be replaced: delete what is lost, look again, create what is lacking then."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from iris_core.errors import InventoryError, IrisError
from iris_core.model import QueuedSlice, VmPhase
from iris_core.parallel import do_each

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iris_core.config import WorkerGroupConfig
    from iris_core.healing import Healing, Loss, Replacement
    from iris_core.model import Slice
    from iris_core.ports.clock import Clock
    from iris_core.ports.vm_inventory import VmInventory

    _Failed: TypeAlias = Callable[[Replacement, IrisError, float], float | None]  # see `Healing.failed`

_Result = TypeVar("_Result")

_logger = logging.getLogger("iris.cluster")


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """How slices are replaced: what the loop needs beside the inventory.

    Attributes:
        create: creates a slice of a group and returns it, or the request for it.
        before_delete: keeps what can be had of a slice that is about to be deleted; takes a bounded time.
        is_unwanted: whether the cluster is being stopped.
    """

    create: Callable[[WorkerGroupConfig], Slice | QueuedSlice]
    before_delete: Callable[[Loss], None]
    is_unwanted: Callable[[], bool]


class _LocalTroubleError(InventoryError):
    """The operating system refuses something here: a full disk, no more memory or files."""

    retryable = True


class _BugError(InventoryError):
    """Raised from what nobody foresaw. Whether anything was created is not known, so that it counts as if it had been."""


def _as_ours(action: Callable[[], _Result]) -> _Result:
    """Do it, and raise whatever goes wrong as an `IrisError`.

    Raises:
        IrisError: whatever went wrong.
    """
    try:
        return action()
    except IrisError:
        raise
    except OSError as error:
        raise _LocalTroubleError(f"The operating system refuses it: {error}") from error
    except Exception as error:
        raise _BugError(f"This is an error in iris: {type(error).__name__}: {error}") from error


class _Way(Enum):
    """What stands where another slice is to be created."""

    CLEAR = auto()  # nothing: what was lost is gone
    CHANGED = auto()  # another slice than the one that was lost
    BARRED = auto()  # nothing is to be created at present


class Replacing:
    """Does what `Healing` has decided, tells it and the user what came of it. For one thread.

    Args:
        healing: hears what came of its wishes.
        inventory: knows and changes the slices.
        clock: tells the time.
        orders: see there.
        is_unwanted: whether nothing new is to be begun.
    """

    def __init__(
        self,
        healing: Healing,
        inventory: VmInventory,
        clock: Clock,
        orders: Orders,
        *,
        is_unwanted: Callable[[], bool],
    ) -> None:
        self._healing = healing
        self._inventory = inventory
        self._clock = clock
        self._orders = orders
        self._is_unwanted = is_unwanted

    def replace(self, due: Sequence[Replacement]) -> None:
        """Delete what is lost, look again, and create what the cluster lacks then."""
        clear = []
        for replacement, way in self._each(self._clear, due, self._healing.not_cleared):
            if way is _Way.CLEAR:
                self._healing.cleared(replacement)
                clear.append(replacement)
            elif way is _Way.CHANGED:
                self._healing.judge_anew(replacement.loss)
        if not clear or self._is_unwanted():
            return
        # That took its time. Another iris may have replaced them, or be deleting the cluster.
        try:
            lacking, waiting = _as_ours(lambda: self._look_again(clear))
        except IrisError as error:
            for replacement in clear:
                self._conclude_failure(replacement, error, self._healing.not_cleared)
            return
        for replacement, request in waiting:
            self._healing.waits_already(replacement, request)
            _logger.warning("In place of the slice %s, %s waits already", replacement.loss.slice.name, request.name)
        for replacement, created in self._each(self._create, lacking, self._healing.failed):
            self._conclude(replacement, created)

    def look_at_requests(self) -> bool:
        """Tell what has come to nothing of what was asked for, and delete it. Returns whether something could not be deleted."""
        try:
            failed, vanished = self._healing.asked.look(_as_ours(self._inventory.list_queued))
        except IrisError as error:
            _logger.info("How the requests for slices stand is not known at the moment: %s", error)
            return False
        for request in vanished:
            _logger.warning(
                "The request %s for a slice is no longer there, somebody has deleted it; `iris up` asks again",
                request.name,
            )
        if self._is_unwanted():
            return False
        outcomes = do_each(
            lambda one: _as_ours(lambda: self._inventory.delete(one)), failed, call_off=self._inventory.call_off
        )
        for request, outcome in zip(failed, outcomes, strict=True):
            if isinstance(outcome, IrisError) and self._is_unwanted():
                continue  # it was called off
            why = f"It is {request.state}" + (f": {request.problem}" if request.problem else "")
            if isinstance(outcome, IrisError):
                then = f"It counts against the quota, and could not be deleted, which is tried again later: {outcome}"
            else:
                then = "It has been deleted, `iris up` asks again"
                self._healing.asked.forget(request)
            _logger.warning("The request %s for a slice came to nothing. %s. %s", request.name, why, then)
        return any(isinstance(outcome, IrisError) for outcome in outcomes)

    def _look_again(
        self, clear: Sequence[Replacement]
    ) -> tuple[list[Replacement], list[tuple[Replacement, QueuedSlice]]]:
        """See `Healing.still_due`."""
        is_queued = any(replacement.group.queued for replacement in clear)
        requests = self._inventory.list_queued() if is_queued else ()  # before the slices, see there
        slices, controller = self._inventory.list_slices(), self._inventory.find_controller()
        return self._healing.still_due(clear, slices, requests, controller, self._clock.monotonic())

    def _each(
        self, action: Callable[[Replacement], _Result], replacements: Sequence[Replacement], failed: _Failed
    ) -> list[tuple[Replacement, _Result]]:
        """Do something for each, several at a time, and return what came of it; what failed is told to `failed` and the user."""
        done = []
        outcomes = do_each(lambda one: _as_ours(lambda: action(one)), replacements, call_off=self._inventory.call_off)
        for replacement, outcome in zip(replacements, outcomes, strict=True):
            if isinstance(outcome, IrisError):
                self._conclude_failure(replacement, outcome, failed)
            else:
                done.append((replacement, outcome))
        return done

    def _clear(self, replacement: Replacement) -> _Way:
        """Delete what is lost, and say whether the way is clear for another."""
        loss = replacement.loss
        if self._is_unwanted():
            return _Way.BARRED
        if not replacement.deletes:
            return _Way.CLEAR
        if loss.is_there:
            self._keep_last_words(loss)
        now = next((one for one in self._inventory.list_slices() if one.name == loss.slice.name), None)
        if self._is_unwanted():
            return _Way.BARRED
        if (loss.is_there and now is None) or (now is not None and now.phase is VmPhase.DELETING):
            return _Way.BARRED  # somebody else is at it: if it is another iris, it creates the next one, too
        if now is not None and not loss.is_still(now):
            is_same = now.owner == loss.slice.owner
            why = f"it is there again ({now.state})" if is_same else f"it belongs to {now.owner or 'nobody'} now"
            _logger.warning("The slice %s is not re-created, but left alone: %s", now.name, why)
            return _Way.CHANGED
        _logger.info("Deleting the slice %s, which is %s", loss.slice.name, loss.reason)
        self._inventory.delete(loss.slice)
        return _Way.CLEAR

    def _keep_last_words(self, loss: Loss) -> None:
        try:
            self._orders.before_delete(loss)
        except Exception as error:
            cause = None if isinstance(error, (IrisError, OSError)) else error
            _logger.warning("Not all that was to be kept of %s is: %s", loss.slice.name, error, exc_info=cause)

    def _create(self, replacement: Replacement) -> Slice | QueuedSlice | None:
        """Create another slice, and return it, or the request for it; None if that is not wanted any more."""
        if self._is_unwanted():
            return None
        _logger.info(
            "Creating a slice of the group %s in place of %s", replacement.group.name, replacement.loss.slice.name
        )
        return self._orders.create(replacement.group)

    def _conclude(self, replacement: Replacement, created: Slice | QueuedSlice | None) -> None:
        name, now = replacement.loss.slice.name, self._clock.monotonic()
        if created is None:
            return
        self._healing.created(replacement, created, now)
        if isinstance(created, QueuedSlice):
            _logger.warning("In place of the slice %s, %s was asked for", name, created.name)
        else:
            _logger.warning("The slice %s was re-created as %s", name, created.name)

    def _conclude_failure(self, replacement: Replacement, error: IrisError, failed: _Failed) -> None:
        name, group = replacement.loss.slice.name, replacement.group.name
        if self._is_unwanted():
            return
        seconds = failed(replacement, error, self._clock.monotonic())
        if seconds is None:
            _logger.error(
                "The slice %s is not re-created, nor are others of the group %s: trying again cannot help. When it is put "
                "right, `iris up` creates what is missing. %s",
                name,
                group,
                error,
            )
        else:
            bug = error.__cause__ if isinstance(error, _BugError) else None
            _logger.warning(
                "The slice %s is not re-created yet, next try in %.0f s: %s", name, seconds, error, exc_info=bug
            )
