"""Replacing slices that were lost: the loop that has carried out what `Healing` decides, and tells what it finds."""

from __future__ import annotations

import logging
import random
import threading
from typing import TYPE_CHECKING, Final

from iris_core.errors import CleanupIncompleteError, InventoryError
from iris_core.healing import DELETION_SECONDS, Healing
from iris_core.replacing import Replacing

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iris_core.cluster_watch import ClusterWatch, Look
    from iris_core.config import WorkerGroupConfig
    from iris_core.healing import Loss
    from iris_core.model import QueuedSlice, Slice
    from iris_core.ports.clock import Clock
    from iris_core.ports.vm_inventory import VmInventory
    from iris_core.replacing import Orders

_logger = logging.getLogger("iris.cluster")

_AT_ONCE_SECONDS: Final = 0.5  # in which the loop ends if nothing is under way
_END_SECONDS: Final = 3.0  # for what is under way when the healing is ended; looks at what is left come so far apart
_REQUESTS_SECONDS: Final = 60.0  # between looks at the requests that wait: the queue moves in minutes
_MOST_REQUESTS_SECONDS: Final = 600.0  # where one could not be deleted
_AFTER_A_BUG_SECONDS: Final = 600.0


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
        self._replacing = Replacing(self._healing, inventory, clock, orders, is_unwanted=self._unwanted)
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
        self._requests_at = -1.0  # when to look next at what was asked for
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
        if self._healing.asked.requests and now >= self._requests_at:
            has_failed = self._replacing.look_at_requests()
            now = self._clock.monotonic()
            self._requests_at = now + (_MOST_REQUESTS_SECONDS if has_failed else _REQUESTS_SECONDS)
        due = self._healing.due(look.slices, look.controller, now)
        if names := self._healing.held_up_by():
            _logger.warning(
                "Somebody may be deleting the cluster, so no slice is re-created while others are being deleted, "
                "for up to %.0f minutes: %s",
                DELETION_SECONDS / 60,
                ", ".join(names),
            )
        for name in self._healing.spent(now):
            _logger.warning(
                "No slice of the group %s is re-created for the time being: there were as many in the last hour as "
                "workers.most_recreations_per_hour allows. If they fail by themselves, their logs say why; `iris up` creates what is "
                "missing at once.",
                name,
            )
        if due:
            self._replacing.replace(due)
            self._acted_until = self._clock.monotonic()
            self._requests_at = max(self._requests_at, self._acted_until + _REQUESTS_SECONDS)

    def _is_ours(self, one: Slice | QueuedSlice) -> bool:
        try:
            return one.owner in {"", self._inventory.owner()}
        except InventoryError as error:
            _logger.warning("It is not known who you are, so %s is left alone: %s", one.name, error)
            return False

    def _tell(self, loss: Loss) -> None:
        what = "is no longer there" if loss.reason == "gone" else f"is {loss.reason} ({loss.slice.state})"
        if not self._healing.is_to_be_replaced(loss):
            then = "it is not re-created, see workers.recreate"
        elif self._healing.is_given_up(loss.slice.group):
            then = "it is not re-created, as was told; `iris up` creates what is missing"
        else:
            then = "it is re-created"
        _logger.warning("The slice %s %s: %s", loss.slice.name, what, then)
