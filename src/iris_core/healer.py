"""Replacing slices that were lost: the loop that carries out what `Healing` decides."""

from __future__ import annotations

import logging
import random
import threading
from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar

from iris_core.errors import CleanupIncompleteError, InventoryError, IrisError
from iris_core.healing import Healing
from iris_core.model import QueuedSlice
from iris_core.parallel import do_each

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iris_core.cluster_watch import ClusterWatch, Look
    from iris_core.config import WorkerGroupConfig
    from iris_core.healing import Loss, Replacement
    from iris_core.model import ControllerVm, Slice
    from iris_core.ports.clock import Clock
    from iris_core.ports.vm_inventory import VmInventory

    _Failed: TypeAlias = Callable[[Replacement, IrisError, float], float | None]  # see `Healing.failed`

_Result = TypeVar("_Result")

_logger = logging.getLogger("iris.cluster")

_AT_ONCE_SECONDS: Final = 0.5  # in which the loop ends if nothing is under way
_END_SECONDS: Final = 3.0  # for what is under way when the healing is ended; looks at what is left come so far apart
_AFTER_A_BUG_SECONDS: Final = 600.0


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


class Healer:
    """Tells which slices are lost, and replaces those that are to be, until `stop`. It asks the inventory nothing while all is well.

    Args:
        groups: of the configuration.
        watch: tells what is listed.
        inventory: knows and changes the slices.
        clock: tells the time.
        orders: see there.
        jitter: gives numbers from 0 to 1, to spread retries.
    """

    def __init__(
        self,
        *,
        groups: Sequence[WorkerGroupConfig],
        watch: ClusterWatch,
        inventory: VmInventory,
        clock: Clock,
        orders: Orders,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.ended = threading.Event()  # nothing is created or deleted any more
        self._healing = Healing(groups, jitter, is_ours=self._is_ours)
        self._watch = watch
        self._inventory = inventory
        self._clock = clock
        self._orders = orders
        self._lock = threading.Lock()  # for what follows
        self._look: Look | None = None
        self._wake = threading.Event()
        self._stop = threading.Event()
        self._taken_at = -1.0  # when the last answer that was taken in was asked for
        self._acted_until = -1.0  # what was asked for before is no longer true
        self._leave: Callable[[], None] = lambda: None

    def start(self) -> None:
        """Begin. Called once."""
        threading.Thread(target=self._loop, name="iris-healer", daemon=True).start()
        self._leave = self._watch.listen(self._hear)

    def call_off(self) -> None:
        """Let nothing new be begun. Returns at once."""
        self._stop.set()
        self._wake.set()

    def stop(self) -> None:
        """End it: what is being created or deleted is called off, and waited for some seconds. Idempotent."""
        self.call_off()
        self._leave()
        if self.ended.is_set() or self._clock.wait(self.ended, _AT_ONCE_SECONDS):
            return
        self._inventory.call_off()
        self._clock.wait(self.ended, _END_SECONDS)
        _logger.warning(
            "A slice was being re-created, and what Google has been asked for still happens: `iris status` shows what comes of it, "
            "`iris up` creates what is missing."
        )

    def clean_up(self, cleanup: Callable[[], None]) -> None:
        """Delete the cluster by `cleanup` until nothing is left, also of what was under way when the healing was called off.

        Raises:
            CleanupIncompleteError, InventoryError: what `cleanup` raised once nothing was under way any more.
        """
        self.call_off()
        while not self.ended.is_set():
            try:
                cleanup()
            except (CleanupIncompleteError, InventoryError) as error:
                _logger.info("Looking again, for a slice was just being re-created: %s", error)
            self._clock.wait(self.ended, _END_SECONDS)
        cleanup()

    def _hear(self, look: Look) -> None:
        with self._lock:
            self._look = look
        self._wake.set()

    def _loop(self) -> None:
        try:
            while not self._unwanted():
                self._wake.clear()
                with self._lock:
                    look, self._look = self._look, None
                if look is not None:
                    self._attempt(look)
                if not self._unwanted():
                    self._clock.wait(self._wake, None)
        finally:
            self.ended.set()

    def _unwanted(self) -> bool:
        return self._stop.is_set() or self._orders.is_unwanted()

    def _attempt(self, look: Look) -> None:
        try:
            self._take(look)
        except Exception:
            # It does not cost money again and again: what has been created is listed then, and not lacking any more.
            _logger.exception("No slice is re-created for %.0f s, because of this error in iris", _AFTER_A_BUG_SECONDS)
            self._acted_until = self._clock.monotonic() + _AFTER_A_BUG_SECONDS

    def _take(self, look: Look) -> None:
        """Act on one answer of the inventory."""
        if look.slices is None or look.began_at < self._acted_until:
            return
        now = self._clock.monotonic()
        if look.began_at != self._taken_at:
            self._taken_at = look.began_at
            for loss in self._healing.look(look.slices):
                self._tell(loss)
        due = self._healing.due(look.slices, look.controller, now)
        for name in self._healing.spent(now):
            _logger.warning(
                "No slice of the group %s is re-created for the time being: there were as many in the last hour as "
                "workers.most_recreations_per_hour allows. If they fail by themselves, their logs say why; `iris up` creates what is "
                "missing at once.",
                name,
            )
        if due:
            self._replace(due)
            self._acted_until = self._clock.monotonic()

    def _replace(self, due: Sequence[Replacement]) -> None:
        """Delete what is lost, look again, and create what the cluster lacks then."""
        clear = []
        for replacement, way in self._each(self._clear, due, self._healing.not_cleared):
            if way is _Way.CLEAR:
                clear.append(replacement)
            elif way is _Way.CHANGED:
                self._healing.judge_anew(replacement.loss)
        if not clear or self._unwanted():
            return
        # That took its time. Another iris may have replaced them, or be deleting the cluster.
        try:
            lacking = _as_ours(lambda: self._healing.still_due(clear, *self._look_again()))
        except IrisError as error:
            for replacement in clear:
                self._conclude_failure(replacement, error, self._healing.not_cleared)
            return
        for replacement, created in self._each(self._create, lacking, self._healing.failed):
            self._conclude(replacement, created)

    def _look_again(self) -> tuple[Sequence[Slice], ControllerVm | None]:
        return self._inventory.list_slices(), self._inventory.find_controller()

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
        if self._unwanted():
            return _Way.BARRED
        if not loss.is_there and not loss.slice.queued_as:  # a request outlives its slice, and counts against the quota
            return _Way.CLEAR
        if loss.is_there:
            self._keep_last_words(loss)
        now = next((one for one in self._inventory.list_slices() if one.name == loss.slice.name), None)
        if self._unwanted():
            return _Way.BARRED
        if now is not None and not loss.is_still(now):
            why = f"it is there again ({now.state})" if now.owner == loss.slice.owner else f"it belongs to {now.owner}"
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
        if self._unwanted():
            return None
        _logger.info(
            "Creating a slice of the group %s in place of %s", replacement.group.name, replacement.loss.slice.name
        )
        return self._orders.create(replacement.group)

    def _conclude(self, replacement: Replacement, created: Slice | QueuedSlice | None) -> None:
        name, now = replacement.loss.slice.name, self._clock.monotonic()
        if isinstance(created, QueuedSlice):
            self._healing.created(replacement, None, now)
            _logger.warning("In place of the slice %s, %s was asked for", name, created.name)
        elif created is not None:
            self._healing.created(replacement, created, now)
            _logger.warning("The slice %s was re-created as %s", name, created.name)

    def _conclude_failure(self, replacement: Replacement, error: IrisError, failed: _Failed) -> None:
        name, group = replacement.loss.slice.name, replacement.group.name
        if self._unwanted():
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

    def _is_ours(self, one: Slice) -> bool:
        try:
            return one.owner in {"", self._inventory.owner()}
        except InventoryError as error:
            _logger.warning("It is not known who you are, so the slice %s is left alone: %s", one.name, error)
            return False

    def _tell(self, loss: Loss) -> None:
        what = "is no longer there" if loss.reason == "gone" else f"is {loss.reason} ({loss.slice.state})"
        then = (
            "it is re-created"
            if self._healing.is_to_be_replaced(loss)
            else "it is not re-created, see workers.recreate"
        )
        _logger.warning("The slice %s %s: %s", loss.slice.name, what, then)
