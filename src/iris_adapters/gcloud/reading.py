"""What there is of a cluster, read through gcloud.

What belongs to the cluster is decided here and not by a filter of gcloud's, which runs on the client and takes a missing key
for a match of nothing: a controller by its exact name and the label `{label_prefix}-managed=true`, a slice and a request for one by
that label and the name's beginning. So a cluster `a` never sees what belongs to `a-b`, nor the other way round.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from iris_adapters.gcloud.json_shape import JsonObject, parse_object, parse_objects
from iris_adapters.gcloud.payloads import (
    controller_from_instance,
    labels_of,
    queued_node,
    queued_slice,
    short_name,
    slice_from_node,
)
from iris_core.errors import ResourceNotFoundError
from iris_core.labels import managed_label
from iris_core.model import controller_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from iris_adapters.gcloud.command import GcloudRunner
    from iris_core.config import ClusterConfig, GcpConfig
    from iris_core.model import ControllerVm, QueuedSlice, Resource, Slice

_EVERY_ZONE: Final = "-"


class ClusterReader:
    """Asks for the resources of one cluster. Every method asks gcloud, and raises `InventoryError` when the answer is not known.

    Args:
        config: of the cluster.
        gcp: its section of that name.
        gcloud: runs the commands.
    """

    def __init__(self, config: ClusterConfig, gcp: GcpConfig, gcloud: GcloudRunner) -> None:
        self._config = config
        self._gcp = gcp
        self._prefix = config.label_prefix
        self._gcloud = gcloud

    def is_managed(self, payload: JsonObject) -> bool:
        """Whether an instance or node bears this cluster's label."""
        return labels_of(payload, "a resource").get(managed_label(self._prefix)) == "true"

    def controller(self, instance: JsonObject) -> ControllerVm:
        """The controller that an instance is."""
        return controller_from_instance(instance, port=self._config.controller.port, route=self._gcp.ssh.route)

    def controller_instance(self, zone: str | None = None) -> JsonObject | None:
        """The VM of the controller's name in a zone (None: the cluster's), whosoever it is.

        Not by `instances list`: when the API refuses it, gcloud (seen with SDK 528) prints `[]`, warns, and exits with 0.
        """
        zone = zone or self._gcp.zone
        name = controller_name(self._prefix)
        try:
            described = self._gcloud.run(["compute", "instances", "describe", name, f"--zone={zone}"])
        except ResourceNotFoundError as error:
            # The zone or the project may be what was not found.
            if f"/zones/{zone}/instances/{name}'" in error.detail:
                return None
            raise
        return parse_object(described, f"instance {name}")

    def find_controller(self, zone: str | None = None) -> ControllerVm | None:
        """The cluster's controller in a zone (None: the cluster's)."""
        instance = self.controller_instance(zone)
        return self.controller(instance) if instance is not None and self.is_managed(instance) else None

    def slices(self, zone: str | None = None) -> list[Slice]:
        """The slices in a zone (None: the cluster's), by zone and name."""
        nodes = self._listed("tpu-vm", zone, "the TPU nodes")
        # Nodes of others may be of any shape; only what bears our label is read further.
        ours = (node for node in nodes if self.is_managed(node) and self._has_our_name(node))
        return sorted((self.slice(node) for node in ours), key=lambda slice_: (slice_.zone, slice_.name))

    def described(self, kind: str, name: str) -> JsonObject:
        """The node (kind `tpu-vm`) or queued resource (`queued-resources`) of a name in the cluster's zone, whosoever's it is.

        Raises:
            ResourceNotFoundError: there is none.
        """
        output = self._gcloud.run(["compute", "tpus", kind, "describe", name, f"--zone={self._gcp.zone}"])
        return parse_object(output, f"{kind} {name}")

    def slice(self, node: JsonObject) -> Slice:
        """The slice that a node is."""
        return slice_from_node(node, label_prefix=self._prefix, route=self._gcp.ssh.route)

    def queued(self, zone: str | None = None) -> list[QueuedSlice]:
        """The requests for slices in a zone (None: the cluster's), by zone and name."""
        payloads = self._listed("queued-resources", zone, "the queued resources")
        ours = (
            payload for payload in payloads if self.is_managed(queued_node(payload)) and self._has_our_name(payload)
        )
        requests = (queued_slice(payload, label_prefix=self._prefix) for payload in ours)
        return sorted(requests, key=lambda request: (request.zone, request.name))

    def resources(self, *, all_zones: bool) -> list[Resource]:
        """Slices, requests whose slice is not among them, controllers: of the cluster's zone or of every zone."""
        zone = _EVERY_ZONE if all_zones else None
        # At the same time: somebody may be waiting for the end of an `iris down`. In whatever order they are answered, a request that
        # is fulfilled meanwhile is in one of the lists, and is deleted with its slice.
        with ThreadPoolExecutor(2, thread_name_prefix="iris-list") as threads:
            listed_slices, listed_requests = threads.submit(self.slices, zone), threads.submit(self.queued, zone)
            controllers = self._controllers(all_zones=all_zones)
        slices = listed_slices.result()
        there = {(slice_.zone, slice_.queued_as) for slice_ in slices}
        requests = [one for one in listed_requests.result() if (one.zone, one.name) not in there]
        return [*slices, *requests, *controllers]

    def _controllers(self, *, all_zones: bool) -> Sequence[ControllerVm]:
        if not all_zones:
            controller = self.find_controller()
            return [] if controller is None else [controller]
        name = controller_name(self._prefix)
        # The filter goes to the server and spares the list of every VM of the project; what it lets through is looked at again.
        output = self._gcloud.run(["compute", "instances", "list", f"--filter=name={name}"])
        ours = (
            instance
            for instance in parse_objects(output, "the instances")
            if instance.get("name") == name and self.is_managed(instance)
        )
        return sorted(map(self.controller, ours), key=lambda controller: controller.zone)

    def _listed(self, kind: str, zone: str | None, what: str) -> list[JsonObject]:
        return parse_objects(
            self._gcloud.run(["compute", "tpus", kind, "list", f"--zone={zone or self._gcp.zone}"]), what
        )

    def _has_our_name(self, payload: JsonObject) -> bool:
        return short_name(payload).startswith(f"{self._prefix}-")
