"""The VMs of one cluster, through gcloud."""

from __future__ import annotations

import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from iris_adapters.gcloud.create_argv import create_controller_argv, create_slice_argv
from iris_adapters.gcloud.json_shape import JsonObject, parse_object, parse_objects, text_at
from iris_adapters.gcloud.payloads import (
    controller_from_instance,
    labels_of,
    node_name,
    slice_from_node,
)
from iris_adapters.gcloud.startup_script import startup_script
from iris_core.config import DEFAULT_CONTROLLER_CONTAINER, DEFAULT_WORKER_CONTAINER
from iris_core.errors import (
    ConfigError,
    InvalidRequestError,
    InventoryError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from iris_core.model import ControllerVm, Slice, VmPhase, controller_name, managed_label

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from iris_adapters.gcloud.command import GcloudRunner
    from iris_core.config import ClusterConfig, ContainerConfig, WorkerGroupConfig
    from iris_core.model import Resource
    from iris_core.ports.clock import Clock

_LOOK_AGAIN_SECONDS = 3.0
_MOST_NAMES_TRIED = 5
_NAME_SUFFIXES: Final = ("", *(f"-{character}" for character in "123456789abcdefghijklmnopqrstuvwxyz"))


class GcloudInventory:
    """Implements `VmInventory` with gcloud.

    What belongs to the cluster is decided here and not by a filter of gcloud's, which runs on the client and takes a missing key
    for a match of nothing: a controller by its exact name and the label `{label_prefix}-managed=true`, a slice by that label and the
    name's beginning. So a cluster `a` never sees what belongs to `a-b`, nor the other way round.

    Args:
        config: of the cluster; its section `gcp` is needed.
        gcloud: runs the commands. Closed with the inventory.
        clock: for names and waits.
        ssh_public_key: the public key, one OpenSSH line, that new hosts are to accept.
        ssh_user: for which user.

    Raises:
        ConfigError: there is no section `gcp`.
    """

    def __init__(
        self,
        config: ClusterConfig,
        gcloud: GcloudRunner,
        clock: Clock,
        *,
        ssh_public_key: Callable[[], str],
        ssh_user: str,
    ) -> None:
        if config.gcp is None:
            raise ConfigError("is needed to use Google Cloud", key_path="gcp")
        self._config = config
        self._gcp = config.gcp
        self._prefix = config.label_prefix
        self._gcloud = gcloud
        self._clock = clock
        self._ssh_public_key = ssh_public_key
        self._ssh_user = ssh_user
        self._closed = threading.Event()
        self._names_lock = threading.Lock()
        self._names_used: set[str] = set()

    def find_controller(self) -> ControllerVm | None:
        """See `VmInventory`. A VM of the controller's name without this cluster's label is not its controller."""
        instance = self._controller_instance()
        return self._controller(instance) if instance is not None and self._is_managed(instance) else None

    def ensure_controller(self) -> ControllerVm:
        """See `VmInventory`. One that is being stopped is waited for, and then started again.

        Raises:
            ResourceExistsError: a VM of the controller's name is not this cluster's.
        """
        deadline = self._clock.monotonic() + self._gcp.gcloud_change_timeout_seconds
        while True:
            instance = self._controller_instance()
            if instance is None:
                instance = self._create_controller()
            if not self._is_managed(instance):
                raise ResourceExistsError(
                    f"There is a VM {self._controller_name} in {self._gcp.zone} that this cluster has not made: it lacks the label "
                    f"{managed_label(self._prefix)}=true.",
                    advice="Rename or delete it, or use another label_prefix.",
                )
            controller = self._controller(instance)
            if controller.state == "TERMINATED":
                self._controller_command("start")
            elif controller.state == "SUSPENDED":
                self._controller_command("resume")
            elif controller.phase is not VmPhase.STOPPED:
                return controller
            else:
                self._look_again(deadline, f"The VM {controller.name} remained {controller.state}")

    def list_slices(self) -> Sequence[Slice]:
        """See `VmInventory`. By name."""
        output = self._gcloud.run(["compute", "tpus", "tpu-vm", "list", f"--zone={self._gcp.zone}"])
        nodes = parse_objects(output, "the TPU nodes")
        # Nodes of others may be of any shape; only what bears our label is read further.
        ours = (node for node in nodes if self._is_managed(node) and node_name(node).startswith(f"{self._prefix}-"))
        return sorted((self._slice(node) for node in ours), key=lambda slice_: slice_.name)

    def create_slice(self, group: WorkerGroupConfig) -> Slice:
        """See `VmInventory`. Returns when Google says that the slice is ready.

        Raises:
            OutOfCapacityError, QuotaExceededError: try again later, elsewhere, or with more quota.
        """
        with self._metadata_files(DEFAULT_WORKER_CONTAINER, group.container) as files:
            name = self._create_under_new_name(group, files)
        described = self._gcloud.run(["compute", "tpus", "tpu-vm", "describe", name, f"--zone={self._gcp.zone}"])
        return self._slice(parse_object(described, f"TPU node {name}"))

    def delete(self, resource: Resource) -> None:
        """See `VmInventory`."""
        kind = ("tpus", "tpu-vm") if isinstance(resource, Slice) else ("instances",)
        deadline = self._clock.monotonic() + self._gcp.gcloud_change_timeout_seconds
        try:
            self._gcloud.run(["compute", *kind, "delete", resource.name, f"--zone={self._gcp.zone}"], changes=True)
        except (ResourceNotFoundError, InvalidRequestError) as error:
            # It is gone, or on its way out at somebody else's wish. Or the zone or the project is what was not found: look.
            while (phase := self._phase_of(resource)) is not None:
                if phase is not VmPhase.DELETING:
                    raise
                self._look_again(deadline, f"{resource.name} is being deleted for long", error)

    def serial_output(self, resource: Resource) -> str:
        """See `VmInventory`. The TPU API gives no one's; Compute keeps the last megabyte."""
        if not isinstance(resource, ControllerVm):
            return ""
        zone = resource.host.zone or self._gcp.zone
        command = ["compute", "instances", "get-serial-port-output", resource.name, f"--zone={zone}"]
        try:
            output = self._gcloud.run(command)
        except ResourceNotFoundError:
            return ""
        what = f"the serial output of {resource.name}"
        return text_at(parse_object(output, what), "contents", what)

    def close(self) -> None:
        """See `VmInventory`. Commands that run are ended; what they have asked of Google goes on there."""
        self._closed.set()
        self._gcloud.close()

    # The controller.

    @property
    def _controller_name(self) -> str:
        return controller_name(self._prefix)

    def _controller_instance(self) -> JsonObject | None:
        """The VM of the controller's name, whosoever it is.

        Not by `instances list`: when the API refuses it, gcloud (seen with SDK 528) prints `[]`, warns, and exits with 0.
        """
        name = self._controller_name
        try:
            described = self._gcloud.run(["compute", "instances", "describe", name, f"--zone={self._gcp.zone}"])
        except ResourceNotFoundError as error:
            # The zone or the project may be what was not found.
            if f"/zones/{self._gcp.zone}/instances/{name}'" in error.detail:
                return None
            raise
        return parse_object(described, f"instance {name}")

    def _create_controller(self) -> JsonObject:
        controller = self._config.controller
        try:
            with self._metadata_files(DEFAULT_CONTROLLER_CONTAINER, controller.container) as files:
                command = create_controller_argv(
                    self._controller_name,
                    label_prefix=self._prefix,
                    gcp=self._gcp,
                    controller=controller,
                    metadata_files=files,
                )
                self._gcloud.run(command, changes=True)
        except ResourceExistsError:
            # Somebody was quicker. (Or it is not the VM that exists but a disk of its name.)
            if (created := self._controller_instance()) is None:
                raise
        else:
            created = self._controller_instance()
        if created is None:
            raise InventoryError(
                f"The VM {self._controller_name} was created and is not there in {self._gcp.zone}.",
                advice="Somebody may have deleted it; try again.",
            )
        return created

    def _controller_command(self, verb: str) -> None:
        self._gcloud.run(
            ["compute", "instances", verb, self._controller_name, f"--zone={self._gcp.zone}"], changes=True
        )

    def _controller(self, instance: JsonObject) -> ControllerVm:
        return controller_from_instance(instance, port=self._config.controller.port, route=self._gcp.ssh.route)

    # Slices.

    def _create_under_new_name(self, group: WorkerGroupConfig, files: Mapping[str, Path]) -> str:
        tries = 0
        while True:
            name = self._new_name(group.name)
            command = create_slice_argv(
                name, label_prefix=self._prefix, gcp=self._gcp, group=group, metadata_files=files
            )
            try:
                self._gcloud.run(command, changes=True)
            except ResourceExistsError:  # another process had the same idea in the same second
                tries += 1
                if tries >= _MOST_NAMES_TRIED:
                    raise
            else:
                return name

    def _new_name(self, group: str) -> str:
        """A name that this process has not used before; at most 63 characters, with prefix and group as long as they may be."""
        while True:
            stamp = self._clock.now().strftime("%Y%m%d%H%M%S")
            with self._names_lock:
                for suffix in _NAME_SUFFIXES:
                    name = f"{self._prefix}-{group}-{stamp}{suffix}"
                    if name not in self._names_used:
                        self._names_used.add(name)
                        return name
            self._pause(1.0)

    def _slice(self, node: JsonObject) -> Slice:
        return slice_from_node(node, label_prefix=self._prefix, route=self._gcp.ssh.route)

    # Both.

    def _is_managed(self, payload: JsonObject) -> bool:
        return labels_of(payload, "a resource").get(managed_label(self._prefix)) == "true"

    def _phase_of(self, resource: Resource) -> VmPhase | None:
        """In which phase it is now, None if it is gone. Compute says STOPPING of a VM that is being deleted, too."""
        if isinstance(resource, Slice):
            return next((slice_.phase for slice_ in self.list_slices() if slice_.name == resource.name), None)
        controller = self.find_controller()
        if controller is None:
            return None
        return VmPhase.DELETING if controller.state == "STOPPING" else controller.phase

    @contextmanager
    def _metadata_files(self, container_name: str, container: ContainerConfig) -> Iterator[Mapping[str, Path]]:
        values = {"ssh-keys": f"{self._ssh_user}:{self._ssh_public_key().strip()}\n"}
        script = startup_script(container_name, container)
        if script is not None:
            values["startup-script"] = script
        with tempfile.TemporaryDirectory(prefix="iris-") as directory:
            files = {key: Path(directory) / key for key in values}
            for key, value in values.items():
                files[key].write_text(value, encoding="utf-8")
            yield files

    def _look_again(self, deadline: float, problem: str, cause: BaseException | None = None) -> None:
        if self._clock.monotonic() >= deadline:
            seconds = self._gcp.gcloud_change_timeout_seconds
            raise InventoryError(
                f"{problem}; iris waited {seconds:g} s.", advice="Look at it in the console."
            ) from cause
        self._pause(_LOOK_AGAIN_SECONDS)

    def _pause(self, seconds: float) -> None:
        if self._clock.wait(self._closed, seconds):
            raise InventoryError("The inventory was closed while it was being asked.")
