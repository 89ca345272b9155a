"""Deleting a cluster, and being sure of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from iris_core.errors import CleanupIncompleteError, InventoryError, IrisError
from iris_core.parallel import do_each

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iris_core.model import Resource
    from iris_core.ports.vm_inventory import VmInventory

_logger = logging.getLogger("iris.cluster")


def plan_cleanup(inventory: VmInventory) -> Sequence[Resource]:
    """What there is of the cluster, in whatever state: its slices, requests for slices, then its controller.

    Raises:
        InventoryError: it is not known what there is.
    """
    return inventory.list_resources()


def carry_out_cleanup(inventory: VmInventory, plan: Sequence[Resource]) -> list[str]:
    """Delete everything of the plan, four at a time, then ask the cloud again what there is.

    Args:
        inventory: of the cluster.
        plan: from `plan_cleanup`, so that the user can be shown it first.

    Returns:
        the names of what was deleted, in the plan's order.

    Raises:
        CleanupIncompleteError: something of the cluster is left: its deletion failed, or did nothing, or it came after the plan.
        InventoryError: it is not known what is left.
    """
    if not plan:
        return []
    _logger.info("Deleting %s", _names(plan))
    outcomes = do_each(inventory.delete, plan, call_off=inventory.call_off)
    failures = {
        resource.name: outcome
        for resource, outcome in zip(plan, outcomes, strict=True)
        if isinstance(outcome, IrisError)
    }
    try:
        left = [resource.name for resource in plan_cleanup(inventory)]
    except InventoryError as error:
        error.add_note(f"So it is not known what is left. The deletion of {_names(plan)} had been asked for.")
        for name, failure in failures.items():
            error.add_note(f"The deletion of {name} had failed: {failure}")
        raise
    deleted = [resource.name for resource in plan if resource.name not in left]
    if left:
        planned = {resource.name for resource in plan}
        problems = [_why_left(name, failures, planned) for name in left]
        raise CleanupIncompleteError(
            f"{len(left)} of the cluster's resources are left and may cost money: delete them again, or in the Cloud console.\n"
            + "\n".join(problems),
            left=left,
            deleted=deleted,
        )
    return deleted


def _names(plan: Sequence[Resource]) -> str:
    return ", ".join(resource.name for resource in plan)


def _why_left(name: str, failures: dict[str, IrisError], planned: set[str]) -> str:
    if name in failures:
        return f"{name}: {failures[name]}"
    if name in planned:
        return f"{name}: the deletion reported no error, but it is still there"
    return f"{name}: appeared while the others were being deleted"
