"""Which slices were lost, and which of them are to be created again, when: a state machine without I/O.

listed as …                             is                      and is, in a group with `recreate`
FAILED (preempted, terminated)          lost at once            deleted, and created again
STOPPED, in a group of spot slices      lost at once            the same: a preempted TPU may show so
STOPPED, in another group               told, and left alone    -: somebody may have stopped it on purpose
no longer listed, twice in a row        lost                    created again: where another iris has deleted it, by that one first
a request that waits in the queue       on its way              nothing is created in its place
DELETING by somebody else's hand        -                       nothing is created meanwhile: the cluster may be being deleted;
                                                                but some are DELETING for ever, so for ten minutes at most
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from iris_core.asked_slices import AskedSlices, waiting_among
from iris_core.healed_group import HealedGroup
from iris_core.model import QueuedSlice, VmPhase
from iris_core.worker_discovery import lost_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from iris_core.config import WorkerGroupConfig
    from iris_core.errors import IrisError
    from iris_core.model import ControllerVm, Slice

DELETION_SECONDS: Final = 600.0
"""How long a slice that is being deleted is taken for a sign that the cluster is: a TPU is gone within minutes."""

_USABLE: Final = frozenset({VmPhase.PENDING, VmPhase.READY})
_LOOKS_BEFORE_GONE: Final = 2  # that miss a slice: one answer alone may be incomplete


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A slice that is lost.

    Attributes:
        slice: as it was last seen.
        reason: what became of it: `preempted`, `terminated`, `stopped`, `gone`.
        is_there: whether it is still listed, and has to be deleted.
    """

    slice: Slice
    reason: str
    is_there: bool

    def is_still(self, now: Slice) -> bool:
        """Whether what is listed under its name is still the slice that was lost: no other life, nobody else's, and not of use again."""
        is_another_life = self.slice.instance_id and now.instance_id and now.instance_id != self.slice.instance_id
        return not is_another_life and now.owner == self.slice.owner and now.phase not in _USABLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """A slice that is to be created in place of one that is lost.

    Attributes:
        group: it is to be of.
        loss: what is lost.
        deletes: whether that is to be deleted first, or the request that it came from, which outlives it and counts against the quota.
    """

    group: WorkerGroupConfig
    loss: Loss
    deletes: bool


def _is_usable(controller: ControllerVm | None) -> bool:
    return controller is not None and controller.phase in _USABLE


class Healing:
    """Told what is listed and what became of its wishes, it says what is lost and what to create. For one thread.

    Args:
        groups: of the configuration.
        jitter: gives numbers from 0 to 1, to spread the retries of many.
        is_ours: whether a slice or a request may be deleted: it is not somebody else's.

    Attributes:
        asked: the requests that were made in place of lost slices.
    """

    def __init__(
        self,
        groups: Iterable[WorkerGroupConfig],
        jitter: Callable[[], float],
        *,
        is_ours: Callable[[Slice | QueuedSlice], bool],
    ) -> None:
        self.asked = AskedSlices()
        self._configs: Mapping[str, WorkerGroupConfig] = {group.name: group for group in groups}
        self._groups = {name: HealedGroup(config, jitter) for name, config in self._configs.items() if config.recreate}
        self._is_ours = is_ours
        self._seen: dict[str, Slice] = {}  # usable slices, as they were last seen
        self._missed: dict[str, int] = {}  # in how many looks in a row
        self._told: set[str] = set()  # that it is lost
        self._owed: dict[str, Loss] = {}  # what has not been replaced, the oldest first
        self._deleting_since: dict[str, float] = {}  # slices that are being deleted, whose ever they are
        self._holding_up: list[str] = []  # those of them that are waited for
        self._told_holding_up: set[str] = set()

    def look(self, slices: Sequence[Slice]) -> list[Loss]:
        """Take in one answer of the inventory, and return what is newly lost (or stopped), each slice once."""
        there = {one.name: one for one in slices}
        self.asked.see_slices(there)
        losses = []
        for one in slices:
            self._missed.pop(one.name, None)
            if one.phase in _USABLE:
                self._seen[one.name] = one
                self._told.discard(one.name)
                self._owed.pop(one.name, None)
            elif one.phase in {VmPhase.FAILED, VmPhase.STOPPED}:
                losses.append(Loss(slice=one, reason=lost_reason(one), is_there=True))
            elif one.name not in self._owed:
                self._seen[one.name] = one
        losses += [
            Loss(slice=one, reason="gone", is_there=False)
            for name, one in self._seen.items()
            if self._is_gone(name, there)
        ]
        for (
            name,
            owed,
        ) in self._owed.items():  # one that somebody else has deleted: another iris, perhaps, which replaces it
            if owed.is_there and self._is_gone(name, there):
                self._now_gone(owed)
        return [loss for loss in losses if self._is_news(loss)]

    def _is_gone(self, name: str, there: Container[str]) -> bool:
        if name in there:
            return False
        self._missed[name] = self._missed.get(name, 0) + 1
        return self._missed[name] >= _LOOKS_BEFORE_GONE

    def is_to_be_replaced(self, loss: Loss) -> bool:
        """Whether a lost slice is to be created again, now or later."""
        return loss.slice.name in self._owed

    def is_given_up(self, group: str) -> bool:
        """Whether no slice of the group is created until it has been seen whole again."""
        return group in self._groups and self._groups[group].given_up

    def due(self, slices: Sequence[Slice], controller: ControllerVm | None, now: float) -> list[Replacement]:
        """What is to be deleted and created now: of a group no more than it lacks, and than its budget of the hour allows.

        Nothing while the cluster may be being deleted, by whomsoever: a slice is DELETING (not for ever, though), or the controller is
        not there or stopped.
        """
        if self._are_being_deleted(slices, now):
            return []
        found = []
        for name, group in self._groups.items():
            owed = [loss for loss in self._owed.values() if loss.slice.group == name]
            lacks = self._lacks(group.config, slices, controller, self.asked.waiting(name))
            if not lacks and _is_usable(controller):  # it is whole: somebody else has replaced what was owed
                for loss in owed:
                    del self._owed[loss.slice.name]
                group.given_up = False
            certain = [loss for loss in owed if loss.slice.name not in self._missed]
            found += [self._replacement(group.config, loss) for loss in certain[: min(lacks, group.most(now))]]
        return found

    def held_up_by(self) -> list[str]:
        """Names of slices that are being deleted, for whose sake what is owed newly has to wait: to be told, once for each."""
        names = [name for name in self._holding_up if name not in self._told_holding_up] if self._owed else []
        self._told_holding_up.update(names)
        return names

    def _are_being_deleted(self, slices: Sequence[Slice], now: float) -> bool:
        names = {one.name for one in slices if one.phase is VmPhase.DELETING}
        self._deleting_since = {name: self._deleting_since.get(name, now) for name in names}
        self._holding_up = sorted(name for name in names if now - self._deleting_since[name] < DELETION_SECONDS)
        self._told_holding_up &= names
        return bool(self._holding_up)

    def _replacement(self, group: WorkerGroupConfig, loss: Loss) -> Replacement:
        is_dying = loss.slice.name in self._deleting_since  # for ever, or it would be waited for
        return Replacement(
            group=group, loss=loss, deletes=(loss.is_there or bool(loss.slice.queued_as)) and not is_dying
        )

    @staticmethod
    def _lacks(group: WorkerGroupConfig, slices: Sequence[Slice], controller: ControllerVm | None, waiting: int) -> int:
        """How many slices a group lacks of its count; none where the cluster itself is not there: no controller, or a stopped one."""
        if not _is_usable(controller):
            return 0
        usable = sum(one.group == group.name and one.phase in _USABLE for one in slices)
        return max(group.count - usable - waiting, 0)

    def still_due(
        self,
        clear: Iterable[Replacement],
        slices: Sequence[Slice],
        requests: Sequence[QueuedSlice],
        controller: ControllerVm | None,
        now: float,
    ) -> tuple[list[Replacement], list[tuple[Replacement, QueuedSlice]]]:
        """What is to be created by the newest answers, of the replacements for which what was lost is out of the way.

        Args:
            clear: these replacements.
            slices: all of the cluster, looked up after `requests`.
            requests: all of the cluster; none where no group is queued.
            controller: of the cluster.
            now: monotonic.

        Returns:
            those that the cluster lacks; and those that have been asked for already, by another iris or by this one, which never got
            the answer, with the request.
        """
        lacking: list[Replacement] = []
        waiting: list[tuple[Replacement, QueuedSlice]] = []
        if self._are_being_deleted(slices, now) or not _is_usable(controller):
            return lacking, waiting
        known = {request.name for request in self.asked.requests}
        for name, group in self._groups.items():
            requested = [
                one for one in waiting_among(requests, {one.name for one in slices}) if one.group == group.config.name
            ]
            lacks = self._lacks(group.config, slices, controller, len(requested))
            of_group = [replacement for replacement in clear if replacement.group.name == name]
            lacking += of_group[:lacks]
            waiting += zip(of_group[lacks:], (one for one in requested if one.name not in known), strict=False)
        return lacking, waiting

    def cleared(self, replacement: Replacement) -> None:
        """What was lost is out of the way: this iris has deleted it, or there was nothing to delete."""
        self._now_gone(replacement.loss)

    def _now_gone(self, loss: Loss) -> None:
        self._owed[loss.slice.name] = Loss(slice=loss.slice, reason=loss.reason, is_there=False)
        self._missed.pop(loss.slice.name, None)

    def judge_anew(self, loss: Loss) -> None:
        """What is listed under its name is something else by now: the next look says what."""
        self._owed.pop(loss.slice.name, None)
        self._told.discard(loss.slice.name)

    def spent(self, now: float) -> list[str]:
        """Names of the groups that have newly used up their hour's budget and still lack slices: to be told, once for each time."""
        names = []
        for name, group in self._groups.items():
            is_spent = group.budget(now) <= 0 and any(loss.slice.group == name for loss in self._owed.values())
            if is_spent and not group.told_spent:
                names.append(name)
            group.told_spent = is_spent
        return names

    def created(self, replacement: Replacement, created: Slice | QueuedSlice, now: float) -> None:
        """It was created, or asked for: what was lost is forgotten."""
        self._groups[replacement.group.name].created(now)
        self._owed.pop(replacement.loss.slice.name, None)
        if isinstance(created, QueuedSlice):
            self.asked.add(created)
        else:  # it may be gone again before it is ever listed
            self._seen[created.name] = created

    def waits_already(self, replacement: Replacement, request: QueuedSlice) -> None:
        """It has been asked for, whosoever did: what was lost is forgotten."""
        self._owed.pop(replacement.loss.slice.name, None)
        if self._is_ours(request):
            self.asked.add(request)

    def failed(self, replacement: Replacement, error: IrisError, now: float) -> float | None:
        """It could not be created. Returns in how many seconds the group is tried again, None: not before it is whole again."""
        return self._groups[replacement.group.name].failed(error, now)

    def not_cleared(self, replacement: Replacement, error: IrisError, now: float) -> float | None:
        """What was lost could not be deleted, or it is not known what there is. Returns as `failed` does."""
        return self._groups[replacement.group.name].not_cleared(error, now)

    def _is_news(self, loss: Loss) -> bool:
        one = loss.slice
        is_told = one.name in self._told
        config = self._configs.get(one.group)
        on_purpose = one.phase is VmPhase.STOPPED and loss.is_there and not (config is not None and config.spot)
        is_owed = not is_told and one.group in self._groups and not on_purpose and self._is_ours(one)
        # Only now: where it cannot be known whose it is, the next look finds it lost again.
        self._seen.pop(one.name, None)
        self._missed.pop(one.name, None)
        if is_owed:
            self._owed[one.name] = loss
        self._told.add(one.name)
        return not is_told
