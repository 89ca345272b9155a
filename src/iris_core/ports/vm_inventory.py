"""The port through which the core knows and changes which VMs there are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iris_core.config import WorkerGroupConfig
    from iris_core.model import ControllerVm, QueuedSlice, Resource, Slice


@runtime_checkable
class VmInventory(Protocol):
    """The VMs of one cluster (one label prefix). Every method may be called from any thread, blocks, and asks afresh.

    Every method raises a subclass of `InventoryError` when the answer is not known; "nothing there" is only ever an answer.
    """

    def owner(self) -> str:
        """Who owns what this inventory creates, as the label has it; empty in local mode."""
        ...

    def find_controller(self) -> ControllerVm | None:
        """The controller, in whatever state, or None if there is none."""
        ...

    def ensure_controller(self, made: Callable[[], object] | None = None) -> ControllerVm:
        """The controller, created if there was none. It may not be ready yet; a stopped one is started again.

        Args:
            made: called once it is known that this very call has created or started it; before this returns, and also where it then
                fails. Not where somebody else was quicker.
        """
        ...

    def list_slices(self) -> Sequence[Slice]:
        """Every worker slice of this cluster, with all its hosts, in whatever state. One call to the cloud, however many."""
        ...

    def list_queued(self) -> Sequence[QueuedSlice]:
        """Every request for a slice of this cluster, fulfilled ones included, in whatever state. One call, however many."""
        ...

    def list_resources(self, *, all_zones: bool = False) -> Sequence[Resource]:
        """Everything of this cluster, whosoever owns it, in whatever state: slices, then requests, then controllers.

        A request whose slice is listed is not: it is deleted with the slice.

        Args:
            all_zones: also what bears this cluster's name and label in other zones of the project.
        """
        ...

    def create_slice(self, group: WorkerGroupConfig) -> Slice:
        """Create one worker slice of the group at once and return it; its hosts may not be known yet.

        Never more than one. After an error there may be one all the same, of which the cloud has not answered in time: look.
        """
        ...

    def queue_slice(self, group: WorkerGroupConfig) -> QueuedSlice:
        """Ask for one worker slice of the group, to be created when there is capacity, and return the request.

        Never for more than one; an error is to be read as for `create_slice`. The cloud itself lets the request fail some minutes after
        the group's `queued.wait_minutes`.
        """
        ...

    def delete(self, resource: Resource) -> None:
        """Delete the resource, and return once it is gone. Already gone is success.

        A slice goes with the request it came from; a request with its slice, also with one that comes while it is being deleted.
        """
        ...

    def serial_output(self, resource: Resource) -> str:
        """What the resource has written on its serial console, as far as the cloud keeps it; empty where there is none to be had."""
        ...

    def call_off(self) -> None:
        """End what is being created or deleted at this moment: those calls raise an `InventoryError`, here or soon after.

        One that is still looking asks for nothing any more; what others have asked of the cloud may still happen there. Later calls are
        not affected.
        """
        ...

    def close(self) -> None:
        """Give up what the inventory holds in this process. What it has created elsewhere stays. Idempotent."""
        ...
