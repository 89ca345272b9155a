"""The port through which the core knows and changes which VMs there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iris_core.config import WorkerGroupConfig
    from iris_core.model import ControllerVm, Resource, Slice


@runtime_checkable
class VmInventory(Protocol):
    """The VMs of one cluster (one label prefix). Every method may be called from any thread, blocks, and asks afresh.

    Every method raises a subclass of `InventoryError` when the answer is not known; "nothing there" is only ever an answer.
    """

    def find_controller(self) -> ControllerVm | None:
        """The controller, in whatever state, or None if there is none."""
        ...

    def ensure_controller(self) -> ControllerVm:
        """The controller, created if there was none. It may not be ready yet; a stopped one is started again."""
        ...

    def list_slices(self) -> Sequence[Slice]:
        """Every worker slice of this cluster, with all its hosts, in whatever state. One call to the cloud, however many."""
        ...

    def create_slice(self, group: WorkerGroupConfig) -> Slice:
        """Create one worker slice of the group and return it; its hosts may not be known yet."""
        ...

    def delete(self, resource: Resource) -> None:
        """Delete the resource, and return once it is gone. Already gone is success."""
        ...

    def serial_output(self, resource: Resource) -> str:
        """What the resource has written on its serial console, as far as the cloud keeps it; empty where there is none to be had."""
        ...

    def close(self) -> None:
        """Give up what the inventory holds in this process. What it has created elsewhere stays. Idempotent."""
        ...
