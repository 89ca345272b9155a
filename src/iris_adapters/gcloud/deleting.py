"""Ending what a cluster consists of, through gcloud, and being sure that it has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from iris_core.errors import InvalidRequestError, InventoryError, ResourceNotFoundError
from iris_core.model import ControllerVm, QueuedSlice, VmPhase

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iris_adapters.gcloud.command import GcloudRunner
    from iris_adapters.gcloud.reading import ClusterReader
    from iris_core.model import Resource, Slice
    from iris_core.ports.clock import Clock

_LOOK_AGAIN_SECONDS: Final = 3.0

# A request that is withdrawn while Google is fulfilling it may leave a slice behind (seen by others as marin#4724): look for it once
# more when so much time has passed. One that comes even later bears the cluster's labels, so the next cleanup finds it.
_LATE_SLICE_SECONDS: Final = 10.0


class ClusterRemover:
    """Deletes the resources of one cluster.

    Args:
        reader: knows which there are.
        gcloud: runs the commands.
        clock: measures how long they take.
        timeout_seconds: how long something may go on being deleted.
        pause: waits for so many seconds on behalf of an era's call, and raises when that is called off or the inventory closed.
    """

    def __init__(
        self,
        reader: ClusterReader,
        gcloud: GcloudRunner,
        clock: Clock,
        *,
        timeout_seconds: float,
        pause: Callable[[float, int], None],
    ) -> None:
        self._reader = reader
        self._gcloud = gcloud
        self._clock = clock
        self._timeout_seconds = timeout_seconds
        self._pause = pause

    def delete(self, resource: Resource) -> None:
        """See `VmInventory`."""
        era = self._gcloud.era()
        zone = resource.zone
        if isinstance(resource, ControllerVm):
            command = ["compute", "instances", "delete", resource.name, f"--zone={zone}"]
            self._delete(command, resource.name, lambda: self._controller_phase(zone), era)
        elif isinstance(resource, QueuedSlice):
            self._delete_request(resource.name, zone, era)
            self._delete_late_slice(resource, era)
        else:
            if resource.queued_as:
                self._delete_request(resource.queued_as, zone, era)
            if not resource.queued_as or self._find_slice(resource.name, zone):
                self._delete_slice(resource.name, zone, era)

    def _delete_request(self, name: str, zone: str, era: int) -> None:
        """Delete a queued resource; `--force` also ends the slice that it has become."""
        command = ["compute", "tpus", "queued-resources", "delete", name, f"--zone={zone}", "--force"]
        self._delete(command, name, lambda: self._phase_in(self._reader.queued(zone), name), era)

    def _delete_slice(self, name: str, zone: str, era: int) -> None:
        command = ["compute", "tpus", "tpu-vm", "delete", name, f"--zone={zone}"]
        self._delete(command, name, lambda: self._phase_in(self._reader.slices(zone), name), era)

    def _delete_late_slice(self, request: QueuedSlice, era: int) -> None:
        """Delete the slice of a request that is gone, should it be there, or come within a short time."""
        if self._find_slice(request.name, request.zone) is None:
            if request.phase is not VmPhase.PENDING:
                return  # nothing was on its way
            self._pause(_LATE_SLICE_SECONDS, era)
            if self._find_slice(request.name, request.zone) is None:
                return
        self._delete_slice(request.name, request.zone, era)

    def _find_slice(self, name: str, zone: str) -> Slice | None:
        return next((slice_ for slice_ in self._reader.slices(zone) if slice_.name == name), None)

    def _delete(self, command: Sequence[str], name: str, phase_now: Callable[[], VmPhase | None], era: int) -> None:
        deadline = self._clock.monotonic() + self._timeout_seconds
        try:
            self._gcloud.run(command, changes=True, era=era)
        except (ResourceNotFoundError, InvalidRequestError) as error:
            # It is gone, or on its way out at somebody else's wish. Or the zone or the project is what was not found: look.
            while (phase := phase_now()) is not None:
                if phase is not VmPhase.DELETING:
                    raise
                if self._clock.monotonic() >= deadline:
                    raise InventoryError(
                        f"{name} is being deleted for long; iris waited {self._timeout_seconds:g} s.",
                        advice="Look at it in the console.",
                    ) from error
                self._pause(_LOOK_AGAIN_SECONDS, era)

    def _controller_phase(self, zone: str) -> VmPhase | None:
        """In which phase the controller is now, None if it is gone."""
        controller = self._reader.find_controller(zone)
        return None if controller is None else controller.phase

    @staticmethod
    def _phase_in(resources: Sequence[Slice | QueuedSlice], name: str) -> VmPhase | None:
        return next((resource.phase for resource in resources if resource.name == name), None)
