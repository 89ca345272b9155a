"""What a start has to do, given what there is: a pure decision."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from iris_core.asked_slices import waiting_among
from iris_core.errors import ClusterMisfitError
from iris_core.fit import controller_misfits, slice_misfits
from iris_core.model import QueuedSlice, VmPhase

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from iris_core.config import ClusterConfig, WorkerGroupConfig
    from iris_core.model import ControllerVm, Slice

_COUNTS: Final = frozenset({VmPhase.PENDING, VmPhase.READY})


@dataclass(frozen=True, slots=True)
class Wanted:
    """One slice that a group is to have.

    Attributes:
        title: `tpu 2/4`: its group, its place in it, and how many there are to be.
        group: what it is to be.
        there: the slice that is there, or the request that waits; None: it has to be made.
    """

    title: str
    group: WorkerGroupConfig
    there: Slice | QueuedSlice | None = None


def plan_start(
    config: ClusterConfig,
    *,
    owner: str,
    controller: ControllerVm | None,
    slices: Sequence[Slice],
    requests: Sequence[QueuedSlice],
) -> list[Wanted]:
    """Which slices there are to be, and which of these there are already.

    A slice that is stopped, failed or on its way out does not count, nor does a request that has failed or whose slice is gone. More
    slices than a group is to have are left alone.

    Args:
        config: what the cluster should be.
        owner: whose it should be.
        controller: as it is there.
        slices: all of the cluster; looked up after `requests`.
        requests: all of the cluster.

    Raises:
        ClusterMisfitError: something under the cluster's name is somebody else's, or is not what the configuration says.
    """
    there = _there(slices, requests)
    of_groups = {group.name: [one for one in there if one.group == group.name] for group in config.workers}
    _refuse_misfits(config, owner, controller, of_groups)
    return [
        Wanted(f"{group.name} {index + 1}/{group.count}", group, found[index] if index < len(found) else None)
        for group in config.workers
        for found in [of_groups[group.name]]
        for index in range(group.count)
    ]


def surplus_of(
    wanted: Sequence[Wanted], *, owner: str, slices: Sequence[Slice], requests: Sequence[QueuedSlice]
) -> list[Slice | QueuedSlice]:
    """What runs or waits, is not somebody else's, and is not wanted: of a group that is to be smaller, or is no more.

    Args:
        wanted: from `plan_start`, as the other arguments.
        owner: who asks.
        slices: see there.
        requests: see there.
    """
    names = {one.there.name for one in wanted if one.there is not None}
    return [one for one in _there(slices, requests) if one.name not in names and one.owner in {"", owner}]


def _there(slices: Sequence[Slice], requests: Sequence[QueuedSlice]) -> list[Slice | QueuedSlice]:
    """What counts: slices that run or will, and requests that wait."""
    names = {slice_.name for slice_ in slices}
    return [*(slice_ for slice_ in slices if slice_.phase in _COUNTS), *waiting_among(requests, names)]


def failed_requests(owner: str, slices: Sequence[Slice], requests: Sequence[QueuedSlice]) -> list[QueuedSlice]:
    """The requests that a start deletes, for they count against the quota: they have come to nothing, and are nobody else's.

    Args:
        owner: who starts.
        slices: all of the cluster, looked up after `requests`. A request whose slice is still there goes with it, and not without.
        requests: all of the cluster.
    """
    names = {slice_.name for slice_ in slices}
    return [
        request
        for request in requests
        if request.phase is VmPhase.FAILED and request.owner in {"", owner} and request.name not in names
    ]


def _refuse_misfits(
    config: ClusterConfig,
    owner: str,
    controller: ControllerVm | None,
    of_groups: dict[str, list[Slice | QueuedSlice]],
) -> None:
    problems = [
        *_problems_with_controller(config, owner, controller),
        *(
            f"{'the queued resource' if isinstance(one, QueuedSlice) else 'the slice'} {one.name}: {misfit}"
            for group in config.workers
            for one in of_groups[group.name]
            for misfit in slice_misfits(one, group, owner=owner)
        ),
    ]
    if problems:
        raise ClusterMisfitError(
            "\n".join(["What is there under the cluster's name does not fit; nothing was created:", *problems]),
            advice="Change the configuration, or take another label_prefix; if it is yours, `iris down` deletes it.",
        )


def _problems_with_controller(config: ClusterConfig, owner: str, controller: ControllerVm | None) -> Iterator[str]:
    # One that is on its way out is waited for and made anew.
    if controller is not None and controller.phase is not VmPhase.DELETING:
        for misfit in controller_misfits(controller, config.controller, owner=owner):
            yield f"the controller's VM {controller.name}: {misfit}"
