"""Deleting what belongs to a cluster, and being sure of it: a plan that can be shown, its execution, and another look."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from iris_core.costs import assess
from iris_core.errors import CleanupIncompleteError, InventoryError, IrisError
from iris_core.parallel import do_each

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from iris_core.costs import Assessed
    from iris_core.model import Resource
    from iris_core.ports.vm_inventory import VmInventory

_logger = logging.getLogger("iris.cluster")


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which of a cluster's resources are meant.

    Attributes:
        owner: whose. What bears no owner is meant too: it was made by an older iris, or by hand with the cluster's label, and is nobody
            else's. None: anybody's.
        older_than_seconds: only what has existed for so long; what does not say since when is not meant then. None: any age.
        all_zones: in every zone of the project, not the cluster's alone.
        spared: names of what is left alone, because it was there before whatever is undone.
    """

    owner: str | None
    older_than_seconds: float | None = None
    all_zones: bool = False
    spared: frozenset[str] = frozenset()

    def refuses(self, one: Assessed) -> str:
        """Why the resource is not meant, for people; empty if it is."""
        theirs = one.resource.owner
        if self.owner is not None and theirs and theirs != self.owner:
            return f"it belongs to {theirs}"
        if one.resource.name in self.spared:
            return "it was there before"
        if self.older_than_seconds is not None:
            if one.age_seconds is None:
                return "its age is not known"
            if one.age_seconds < self.older_than_seconds:
                return "it is not that old"
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What a plan leaves alone, and why."""

    resource: Resource
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanupPlan:
    """What is going to be deleted. A dry run shows it, a real one carries it out: the same object.

    Attributes:
        selection: what it was made by.
        deletions: what is going to be deleted: slices, requests for slices, controllers.
        kept: what of the cluster is left alone.
    """

    selection: Selection
    deletions: tuple[Assessed, ...]
    kept: tuple[Kept, ...]

    @property
    def resources(self) -> tuple[Resource, ...]:
        """What is going to be deleted."""
        return tuple(one.resource for one in self.deletions)


def plan_cleanup(
    inventory: VmInventory, selection: Selection, *, prices: Mapping[str, float], now: datetime
) -> CleanupPlan:
    """Look what there is of the cluster, in whatever state, and decide what of it is to be deleted.

    Raises:
        InventoryError: it is not known what there is.
    """
    deletions, kept = [], []
    for one in assess(inventory.list_resources(all_zones=selection.all_zones), prices, now):
        why = selection.refuses(one)
        if why:
            kept.append(Kept(resource=one.resource, why=why))
        else:
            deletions.append(one)
    return CleanupPlan(selection=selection, deletions=tuple(deletions), kept=tuple(kept))


def carry_out_cleanup(inventory: VmInventory, plan: CleanupPlan) -> list[str]:
    """Delete everything of the plan, four at a time, then ask the cloud again what there is.

    Args:
        inventory: of the cluster.
        plan: from `plan_cleanup`, so that the user can be shown it first.

    Returns:
        the names of what was deleted, in the plan's order.

    Raises:
        CleanupIncompleteError: something that the plan means is left: its deletion failed, or did nothing, or it came after the plan.
        InventoryError: it is not known what is left.
    """
    if not plan.deletions:
        return []
    names = ", ".join(resource.name for resource in plan.resources)
    _logger.info("Deleting %s", names)
    outcomes = do_each(inventory.delete, plan.resources, call_off=inventory.call_off)
    failures = {
        _identity(resource): outcome
        for resource, outcome in zip(plan.resources, outcomes, strict=True)
        if isinstance(outcome, IrisError)
    }
    try:
        there = inventory.list_resources(all_zones=plan.selection.all_zones)
    except InventoryError as error:
        error.add_note(f"So it is not known what is left. The deletion of {names} had been asked for.")
        for (_, _, name), failure in failures.items():
            error.add_note(f"The deletion of {name} had failed: {failure}")
        raise
    left = _left(plan, there)
    deleted = [resource.name for resource in plan.resources if _identity(resource) not in left]
    if left:
        planned = set(map(_identity, plan.resources))
        problems = [_why_left(identity, failures, planned) for identity in left]
        raise CleanupIncompleteError(
            f"{len(left)} of the cluster's resources are left and may cost money: delete them again, or in the Cloud console.\n"
            + "\n".join(problems),
            left=[resource.name for resource in left.values()],
            deleted=deleted,
        )
    return deleted


def _left(plan: CleanupPlan, there: Sequence[Resource]) -> dict[tuple[str, str, str], Resource]:
    """What is there and should not be: what was planned, and what is meant and was not there when the plan was made."""
    planned = set(map(_identity, plan.resources))
    kept = {_identity(one.resource) for one in plan.kept}
    left = {}
    for resource in there:
        identity = _identity(resource)
        if identity in planned or (identity not in kept and _is_new_and_meant(plan.selection, resource)):
            left[identity] = resource
    return left


def _is_new_and_meant(selection: Selection, resource: Resource) -> bool:
    # What has come since the plan was made is younger than any age that was asked for.
    theirs = resource.owner
    return (
        selection.older_than_seconds is None
        and (selection.owner is None or theirs in ("", selection.owner))
        and resource.name not in selection.spared  # a request that was spared may have become a slice
    )


def _identity(resource: Resource) -> tuple[str, str, str]:
    """What no two resources share. The same name may be there in two zones, and as a slice and as the request for it."""
    return (type(resource).__name__, resource.zone, resource.name)


def _why_left(
    identity: tuple[str, str, str],
    failures: Mapping[tuple[str, str, str], IrisError],
    planned: set[tuple[str, str, str]],
) -> str:
    _, zone, name = identity
    place = f"{name} ({zone})" if zone else name
    if identity in failures:
        return f"{place}: {failures[identity]}"
    if identity in planned:
        return f"{place}: the deletion reported no error, but it is still there"
    return f"{place}: appeared while the others were being deleted"
