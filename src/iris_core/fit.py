"""Whether what is there is what the configuration wants: pure comparisons, told in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iris_core.model import Hardware

if TYPE_CHECKING:
    from collections.abc import Iterator

    from iris_core.config import ControllerConfig, WorkerGroupConfig
    from iris_core.model import ControllerVm, QueuedSlice, Slice


def wanted_hardware(group: WorkerGroupConfig) -> Hardware:
    """What the slices of the group are to be made of."""
    return Hardware(
        accelerator_type=group.accelerator_type or "",
        type=group.type or "",
        topology=group.topology or "",
        runtime_version=group.runtime_version,
        spot=group.spot,
        reserved=group.reserved,
    )


def controller_misfits(controller: ControllerVm, config: ControllerConfig, *, owner: str) -> list[str]:
    """What is wrong with the controller's VM: one sentence's worth each, empty if it fits.

    Args:
        controller: as it is there.
        config: as it should be.
        owner: whose it should be.
    """
    return [
        *_owner_misfits(controller.owner, owner),
        *_differences("machine type", controller.machine_type, config.machine_type),
    ]


def slice_misfits(slice_: Slice | QueuedSlice, group: WorkerGroupConfig, *, owner: str) -> list[str]:
    """What is wrong with a slice, or with a request for one: one sentence's worth each, empty if it fits.

    Args:
        slice_: as it is there.
        group: the group it is of.
        owner: whose it should be.
    """
    there, wanted = slice_.hardware, wanted_hardware(group)
    return [
        *_owner_misfits(slice_.owner, owner),
        *_differences("accelerator type", there.accelerator_type, wanted.accelerator_type),
        *_differences("type", there.type, wanted.type),
        *_differences("topology", there.topology, wanted.topology),
        *_differences("runtime version", there.runtime_version, wanted.runtime_version),
        *_differences("spot", there.spot, wanted.spot),
        *_differences("reserved", there.reserved, wanted.reserved),
    ]


def _owner_misfits(there: str, wanted: str) -> Iterator[str]:
    # What bears no owner was made by an older iris, or by hand with the cluster's label: it is nobody else's.
    if there and wanted and there != wanted:
        yield f"it belongs to {there}, and you are {wanted}"


def _differences(what: str, there: str | bool | None, wanted: str | bool | None) -> Iterator[str]:  # noqa: FBT001 - compared, not switched by
    if there in ("", None) or wanted in ("", None):  # not told, or not asked for
        return
    if str(there).lower() != str(wanted).lower():
        yield f"its {what} is {_shown(there)}, the configuration says {_shown(wanted)}"


def _shown(value: str | bool | None) -> str:  # noqa: FBT001 - as above
    return str(value).lower() if isinstance(value, bool) else str(value)
