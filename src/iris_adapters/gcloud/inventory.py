"""The VMs of one cluster, through gcloud."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING
from uuid import uuid4

from iris_adapters.gcloud.creating import ClusterMaker
from iris_adapters.gcloud.deleting import ClusterRemover
from iris_adapters.gcloud.json_shape import as_text, parse_object
from iris_adapters.gcloud.payloads import labels_of, queued_slice
from iris_adapters.gcloud.reading import ClusterReader
from iris_core.errors import ConfigError, InventoryError, InventoryToolError, ResourceExistsError, ResourceNotFoundError
from iris_core.labels import creation_in, managed_label
from iris_core.model import ControllerVm, VmPhase, controller_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from iris_adapters.gcloud.command import GcloudRunner
    from iris_adapters.gcloud.json_shape import JsonObject
    from iris_core.config import ClusterConfig, WorkerGroupConfig
    from iris_core.model import QueuedSlice, Resource, Slice
    from iris_core.ports.clock import Clock

_LOOK_AGAIN_SECONDS = 3.0


class GcloudInventory:
    """Implements `VmInventory` with gcloud.

    Args:
        config: of the cluster; its section `gcp` is needed.
        gcloud: runs the commands. Closed with the inventory.
        clock: for names and waits.
        owner: who owns what is created, as a label's value; asked when it is needed.
        ssh_public_key: the public key, one OpenSSH line, that new hosts are to accept.
        ssh_user: for which user.
        new_creation: gives a label's value for each creation, another one every time.

    Raises:
        ConfigError: there is no section `gcp`.
    """

    def __init__(
        self,
        config: ClusterConfig,
        gcloud: GcloudRunner,
        clock: Clock,
        *,
        owner: Callable[[], str],
        ssh_public_key: Callable[[], str],
        ssh_user: str,
        new_creation: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        if config.gcp is None:
            raise ConfigError("is needed to use Google Cloud", key_path="gcp")
        self._gcp = config.gcp
        self._prefix = config.label_prefix
        self._gcloud = gcloud
        self._clock = clock
        self._owner = owner
        self._closed = threading.Event()
        self._reader = ClusterReader(config, config.gcp, gcloud)
        self._new_creation = new_creation
        self._maker = ClusterMaker(
            config,
            config.gcp,
            self._reader,
            gcloud,
            clock,
            owner=owner,
            ssh_public_key=ssh_public_key,
            ssh_user=ssh_user,
            new_creation=new_creation,
            pause=self._pause,
        )
        self._remover = ClusterRemover(
            self._reader,
            gcloud,
            clock,
            timeout_seconds=config.gcp.gcloud_change_timeout_seconds,
            pause=self._pause,
        )

    def owner(self) -> str:
        """See `VmInventory`.

        Raises:
            InventoryError: gcloud does not run.
        """
        return self._owner()

    def find_controller(self) -> ControllerVm | None:
        """See `VmInventory`. A VM of the controller's name without this cluster's label is not its controller."""
        return self._reader.find_controller()

    def ensure_controller(self, made: Callable[[], object] | None = None) -> ControllerVm:
        """See `VmInventory`. One that is being stopped is waited for, and then started again.

        Raises:
            ResourceExistsError: a VM of the controller's name is not this cluster's.
        """
        era = self._gcloud.era()
        deadline = self._clock.monotonic() + self._gcp.gcloud_change_timeout_seconds
        while True:
            instance = self._reader.controller_instance()
            if instance is None:
                instance = self._create_controller(era, made)
            if not self._reader.is_managed(instance):
                raise ResourceExistsError(
                    f"There is a VM {self._controller_name} in {self._gcp.zone} that this cluster has not made: it lacks the label "
                    f"{managed_label(self._prefix)}=true.",
                    advice="Rename or delete it, or use another label_prefix.",
                )
            controller = self._reader.controller(instance)
            if controller.state == "TERMINATED":
                self._controller_command("start", era, made)
            elif controller.state == "SUSPENDED":
                self._controller_command("resume", era, made)
            elif controller.phase not in {VmPhase.STOPPED, VmPhase.DELETING}:
                return controller
            elif self._clock.monotonic() >= deadline:
                seconds = self._gcp.gcloud_change_timeout_seconds
                raise InventoryError(
                    f"The VM {controller.name} remained {controller.state}; iris waited {seconds:g} s.",
                    advice="Look at it in the console.",
                )
            else:
                self._pause(_LOOK_AGAIN_SECONDS, era)

    def list_slices(self) -> Sequence[Slice]:
        """See `VmInventory`. By name."""
        return self._reader.slices()

    def list_queued(self) -> Sequence[QueuedSlice]:
        """See `VmInventory`. By name."""
        return self._reader.queued()

    def list_resources(self, *, all_zones: bool = False) -> Sequence[Resource]:
        """See `VmInventory`. Three gcloud commands."""
        return self._reader.resources(all_zones=all_zones)

    def create_slice(self, group: WorkerGroupConfig) -> Slice:
        """See `VmInventory`. Returns when Google says that the slice is ready.

        Raises:
            OutOfCapacityError, QuotaExceededError: try again later, elsewhere, or with more quota.
        """
        name = self._maker.create_slice(group)
        return self._reader.slice(self._reader.described("tpu-vm", name))

    def queue_slice(self, group: WorkerGroupConfig) -> QueuedSlice:
        """See `VmInventory`. The request bears the name of the slice that comes of it."""
        name = self._maker.queue_slice(group)
        return queued_slice(self._reader.described("queued-resources", name), label_prefix=self._prefix)

    def delete(self, resource: Resource) -> None:
        """See `VmInventory`."""
        self._remover.delete(resource)

    def serial_output(self, resource: Resource) -> str:
        """See `VmInventory`. The TPU API gives no one's; Compute keeps the last megabyte."""
        if not isinstance(resource, ControllerVm):
            return ""
        zone = resource.zone or self._gcp.zone
        command = ["compute", "instances", "get-serial-port-output", resource.name, f"--zone={zone}"]
        try:
            output = self._gcloud.run(command)
        except ResourceNotFoundError:
            return ""
        what = f"the serial output of {resource.name}"
        return as_text(parse_object(output, what).get("contents", ""), what, "contents")  # left out where it is empty

    def call_off(self) -> None:
        """See `VmInventory`."""
        self._gcloud.call_off()

    def close(self) -> None:
        """See `VmInventory`. Commands that run are ended; what they have asked of Google goes on there."""
        self._closed.set()
        self._gcloud.close()

    @property
    def _controller_name(self) -> str:
        return controller_name(self._prefix)

    def _create_controller(self, era: int, made: Callable[[], object] | None) -> JsonObject:
        creation = self._new_creation()
        try:
            self._maker.create_controller(era, creation)
        except ResourceExistsError:
            # Somebody was quicker, or this very command was repeated. (Or it is not the VM that exists but a disk of its name.)
            if (created := self._reader.controller_instance()) is None:
                raise
            if made is not None and creation_in(labels_of(created, self._controller_name)) == creation:
                made()
        else:
            if made is not None:
                made()
            created = self._reader.controller_instance()
        if created is None:
            raise InventoryError(
                f"The VM {self._controller_name} was created and is not there in {self._gcp.zone}.",
                advice="Somebody may have deleted it; try again.",
            )
        return created

    def _controller_command(self, verb: str, era: int, made: Callable[[], object] | None) -> None:
        command = ["compute", "instances", verb, self._controller_name, f"--zone={self._gcp.zone}"]
        self._gcloud.run(command, changes=True, era=era)
        if made is not None:
            made()

    def _pause(self, seconds: float, era: int) -> None:
        if self._clock.wait(self._closed, seconds):
            raise InventoryError("The inventory was closed while it was being asked.")
        if self._gcloud.era() != era:
            raise InventoryToolError(
                "It was given up while it was waited for; what the cloud was asked for may still happen.",
                advice="See what there is: `iris status`.",
            )
